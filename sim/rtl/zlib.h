// What Verilator's FST writer calls of zlib, so that waves need no package of the system: streams of stored blocks.
//
// Nothing is compressed, and the writer takes what is no shorter as it is: the first values, the table of times and that
// of widths. The values that follow, nearly all of a file, go through LZ4.
#pragma once

#include <cstdint>
#include <cstring>

typedef unsigned char Bytef;
typedef unsigned long uLong;
typedef unsigned long uLongf;

enum { Z_OK = 0, Z_BUF_ERROR = -5 };

namespace zlib_stored {
constexpr uLong MOST = 65535; // bytes of a stored block
constexpr uLong blocks(uLong size) { return size ? (size + MOST - 1) / MOST : 1; }
}

inline uLong compressBound(uLong size) { return size + 5 * zlib_stored::blocks(size) + 6; }

// RFC 1950 around RFC 1951, section 3.2.4.
inline int compress2(Bytef* to, uLongf* to_size, const Bytef* from, uLong size, int) {
    if (*to_size < compressBound(size)) return Z_BUF_ERROR;
    Bytef* out = to;
    *out++ = 0x78;
    *out++ = 0x01;
    uint32_t a = 1, b = 0; // Adler-32
    for (uLong block = zlib_stored::blocks(size), left = size; block--;) {
        const uLong count = left < zlib_stored::MOST ? left : zlib_stored::MOST;
        *out++ = block == 0; // the last one
        for (const uLong word : {count, ~count}) {
            *out++ = static_cast<Bytef>(word);
            *out++ = static_cast<Bytef>(word >> 8);
        }
        if (count) std::memcpy(out, from, count);
        for (uLong i = 0; i < count; i++) {
            a = (a + from[i]) % 65521;
            b = (b + a) % 65521;
        }
        out += count;
        from += count;
        left -= count;
    }
    for (int shift : {8, 0}) *out++ = static_cast<Bytef>(b >> shift);
    for (int shift : {8, 0}) *out++ = static_cast<Bytef>(a >> shift);
    *to_size = static_cast<uLongf>(out - to);
    return Z_OK;
}
