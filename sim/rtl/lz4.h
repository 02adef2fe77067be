// What Verilator's FST writer calls of LZ4, so that waves need no package of the system: a compressor of LZ4 blocks.
//
// Format: https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md. A match is the latest occurrence of the next four
// bytes, found in a table of hashes; it compresses a little less than the library.
#pragma once

#include <cstdint>
#include <cstring>
#include <vector>

namespace lz4_block {

constexpr int LEAST_MATCH = 4;
constexpr int LAST_LITERALS = 5; // a block ends with as many literals at least,
constexpr int MATCH_LIMIT = 12;  // and its last match begins as many bytes before its end
constexpr int MOST_OFFSET = 65535;
constexpr unsigned HASH_BITS = 14;

inline uint32_t four_bytes(const uint8_t* p) {
    uint32_t value;
    std::memcpy(&value, p, sizeof value);
    return value;
}

inline unsigned hash(uint32_t value) { return value * 2654435761u >> (32 - HASH_BITS); }

// The rest of a length of which a token holds up to 15.
inline uint8_t* put_length(uint8_t* out, int length) {
    if (length < 15) return out;
    for (length -= 15; length >= 255; length -= 255) *out++ = 255;
    *out++ = static_cast<uint8_t>(length);
    return out;
}

// Literals, then a match unless its length is 0.
inline uint8_t* put_sequence(uint8_t* out, const uint8_t* literals, int count, int offset, int match) {
    const int more = match ? match - LEAST_MATCH : 0;
    *out++ = static_cast<uint8_t>((count < 15 ? count : 15) << 4 | (more < 15 ? more : 15));
    out = put_length(out, count);
    if (count) std::memcpy(out, literals, count);
    out += count;
    if (!match) return out;
    *out++ = static_cast<uint8_t>(offset);
    *out++ = static_cast<uint8_t>(offset >> 8);
    return put_length(out, more);
}

} // namespace lz4_block

inline int LZ4_compressBound(int size) { return size + size / 255 + 16; }

// Compress `size` bytes to at least LZ4_compressBound(size) bytes at `to`; returns the bytes written, 0 for no room.
inline int LZ4_compress_default(const char* from, char* to, int size, int capacity) {
    using namespace lz4_block;
    if (capacity < LZ4_compressBound(size)) return 0;
    const uint8_t* const in = reinterpret_cast<const uint8_t*>(from);
    uint8_t* out = reinterpret_cast<uint8_t*>(to);
    std::vector<int> latest(size < MATCH_LIMIT ? 0 : 1u << HASH_BITS, -MOST_OFFSET - 1);
    int literals = 0; // where those begin that are not written yet
    for (int at = 0; at <= size - MATCH_LIMIT;) {
        int& entry = latest[hash(four_bytes(in + at))];
        const int match = entry;
        entry = at;
        if (at - match > MOST_OFFSET || four_bytes(in + match) != four_bytes(in + at)) {
            at++;
            continue;
        }
        int length = LEAST_MATCH;
        while (at + length < size - LAST_LITERALS && in[match + length] == in[at + length]) length++;
        out = put_sequence(out, in + literals, at - literals, at - match, length);
        at += length;
        literals = at;
    }
    out = put_sequence(out, in + literals, size - literals, 0, 0);
    return static_cast<int>(out - reinterpret_cast<uint8_t*>(to));
}
