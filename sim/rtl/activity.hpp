// Counts what the nets of the core do, from Verilator's own trace: toggles of each bit, and the operands of every
// multiplication of the array.
//
// Verilator writes a VCD stream into `Activity` instead of a file, one time per cycle, when all nets are settled. So a
// net toggles once per cycle at most: glitches are not seen.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "verilated_vcd_c.h"

// What the multiplications are counted by; `MacEvent` in sim/activity.py says what each means.
enum MacEvent { MAC, ZERO_WEIGHT, ZERO_ACTIVATION, ZERO, UNCHANGED, ZERO_POINT, MAC_EVENTS };

// How the array is built; see `SystolicArray` in hw/array.py.
struct ArrayShape {
    uint32_t rows, filter_rows, latency, most_lines; // latency: cycles from the walker's `valid` to the array's word
};

class Activity : public VerilatedVcdFile {
public:
    struct Net {
        unsigned width = 0;
        std::string value;                   // one character per bit, the most significant first
        std::vector<uint64_t> toggles, high; // per bit in the same order; cycles at 1
        std::vector<uint64_t> since;         // the cycle of the last toggle
        uint64_t changes = 0;                // cycles with a toggle of any bit
        std::vector<uint64_t> high_until_now;
    };
    struct Name {
        std::string name;
        unsigned net;
    };

    explicit Activity(const ArrayShape& shape) : shape_(shape) {}

    bool open(const std::string&) override { return true; }
    void close() override {}
    ssize_t write(const char* text, ssize_t size) override {
        const char* const end = text + size;
        while (const char* newline = static_cast<const char*>(std::memchr(text, '\n', end - text))) {
            if (rest_.empty()) {
                line(text, newline);
            } else {
                rest_.append(text, newline);
                line(rest_.data(), rest_.data() + rest_.size());
                rest_.clear();
            }
            text = newline + 1;
        }
        rest_.append(text, end);
        return size;
    }

    // A run begins: its instructions are counted anew, and nothing is on its way in the array.
    void begin() {
        finish();
        macs_.clear();
        words_.assign(words_.size(), Word());
        began_ = cycles_;
    }

    // All that was written is counted, the last cycle too.
    void finish() {
        if (pending_) sample();
        pending_ = false;
    }

    uint64_t cycles() const { return cycles_; }
    const std::vector<Name>& names() const { return names_; }
    const Net& net(unsigned index) {
        Net& n = nets_[index];
        n.high_until_now = n.high;
        for (unsigned i = 0; i < n.width; i++)
            if (n.value[i] == '1') n.high_until_now[i] += cycles_ - n.since[i];
        return n;
    }
    // [MAC_EVENTS] per instruction; null for one that did not use the array.
    const uint64_t* macs(uint32_t instruction) const {
        const auto found = macs_.find(instruction);
        return found == macs_.end() ? nullptr : found->second.data();
    }

private:
    // A word that enters the array: its place in the pass, or -1 for none; see `sample`.
    struct Word {
        int64_t place = -1;
        uint32_t instruction = 0;
        uint8_t fill = 0;
    };
    struct Cell {
        const Net *x_net, *live_net;
        uint8_t x = 0, live = 0, before = 0; // `before`: x in the cycle before
    };

    static constexpr unsigned NONE = ~0u;

    const ArrayShape shape_;
    std::string rest_;
    std::vector<std::string> scopes_;
    std::vector<Name> names_;
    std::vector<Net> nets_;
    std::vector<unsigned> by_code_; // numbers of nets
    bool header_ = true, pending_ = false;
    uint64_t cycles_ = 0, began_ = 0;

    const Net *valid_ = nullptr, *first_ = nullptr, *index_ = nullptr, *fill_ = nullptr, *fir_ = nullptr,
              *spacing_ = nullptr, *delay_ = nullptr;
    std::vector<Cell> cells_; // row by row
    std::vector<Word> words_; // by cycle, in a circle: from the walker to the last cell
    int64_t place_ = -1;
    std::map<uint32_t, std::vector<uint64_t>> macs_;

    void line(const char* text, const char* end) {
        if (text == end) return;
        if (header_) return declaration(std::string(text, end));
        if (*text == '#') {
            finish();
            pending_ = true;
        } else if (*text == 'b') {
            const char* space = static_cast<const char*>(std::memchr(text, ' ', end - text));
            change(code(space + 1, end), text + 1, space - text - 1);
        } else if (*text == '0' || *text == '1') {
            change(code(text + 1, end), text, 1);
        }
    }

    // The number that Verilator's identifier of a variable stands for.
    static size_t code(const char* text, const char* end) {
        size_t value = 0;
        while (end-- > text) value = 94 * value + (*end - '!') + 1;
        return value - 1;
    }

    void declaration(const std::string& text) {
        std::vector<std::string> words;
        for (size_t at = 0; (at = text.find_first_not_of(' ', at)) != std::string::npos;) {
            const size_t end = std::min(text.find(' ', at), text.size());
            words.push_back(text.substr(at, end - at));
            at = end;
        }
        if (words[0] == "$scope") {
            scopes_.push_back(words[2]);
        } else if (words[0] == "$upscope") {
            scopes_.pop_back();
        } else if (words[0] == "$var") {
            const unsigned width = std::strtoul(words[2].c_str(), nullptr, 10);
            const size_t at = code(words[3].data(), words[3].data() + words[3].size());
            if (at >= by_code_.size()) by_code_.resize(at + 1, NONE);
            if (by_code_[at] == NONE) {
                by_code_[at] = nets_.size();
                nets_.emplace_back();
                Net& n = nets_.back();
                n.width = width;
                n.value.assign(width, '0');
                for (auto* counts : {&n.toggles, &n.high, &n.since}) counts->assign(width, 0);
            }
            std::string name;
            for (const std::string& scope : scopes_) name += scope + ".";
            names_.push_back({name + words[4], by_code_[at]});
        } else if (words[0] == "$enddefinitions") {
            header_ = false;
            find_array();
        }
    }

    void change(size_t code, const char* bits, size_t size) {
        Net& n = nets_[by_code_[code]];
        bool any = false;
        for (unsigned i = 0; i < n.width; i++) {
            // Bits that are left out at the front are zeros.
            const char bit = i + size < n.width ? '0' : bits[i + size - n.width];
            if (bit == n.value[i]) continue;
            if (cycles_) n.toggles[i]++;
            if (bit == '0') n.high[i] += cycles_ - n.since[i];
            n.since[i] = cycles_;
            n.value[i] = bit;
            any = true;
        }
        if (any && cycles_) n.changes++;
    }

    void find_array() {
        std::unordered_map<std::string, const Net*> by_name;
        for (const Name& each : names_) by_name[each.name] = &nets_[each.net];
        const auto find = [&](const std::string& name) {
            const auto found = by_name.find("TOP.core.compute." + name);
            return found == by_name.end() ? nullptr : found->second;
        };
        valid_ = find("inner.valid");
        first_ = find("inner.first");
        index_ = find("walk_index_d1");
        fill_ = find("pad_d1"); // a cycle after the walker
        fir_ = find("fir");
        spacing_ = find("spacing");
        delay_ = find("delay");
        for (unsigned r = 0; r < shape_.rows; r++)
            for (unsigned c = 0; c < shape_.rows; c++) {
                const std::string name = "r" + std::to_string(r) + "c" + std::to_string(c);
                cells_.push_back({find("array.x_" + name), find("array.live_" + name)});
            }
        words_.resize(shape_.latency + 2 * shape_.rows + 1);
    }

    static uint64_t number(const Net* net) {
        uint64_t value = 0;
        if (net)
            for (const char bit : net->value) value = value << 1 | (bit == '1');
        return value;
    }

    // All nets have their values of this cycle.
    void sample() {
        const uint64_t now = cycles_++;
        const size_t circle = words_.size();
        Word& word = words_[now % circle];
        word = Word();
        if (number(valid_)) {
            place_ = number(first_) ? 0 : place_ + 1;
            word.place = place_;
            word.instruction = number(index_);
        }
        if (now > began_) words_[(now - 1) % circle].fill = number(fill_);
        for (Cell& cell : cells_) {
            cell.before = cell.x;
            cell.x = number(cell.x_net);
            cell.live = number(cell.live_net);
        }
        for (unsigned diagonal = 0; diagonal < 2 * shape_.rows - 1; diagonal++) {
            // A cell of row r and column c has the word that entered the array 1 + r + c cycles ago.
            const uint64_t ago = shape_.latency + 1 + diagonal;
            if (now < began_ + ago) break;
            const Word& old = words_[(now - ago) % circle];
            if (old.place >= 0) multiply(diagonal, old);
        }
    }

    void multiply(unsigned diagonal, const Word& word) {
        std::vector<uint64_t>& counts = macs_[word.instruction];
        counts.resize(MAC_EVENTS);
        const unsigned last = shape_.rows - 1, begin = diagonal > last ? diagonal - last : 0;
        for (unsigned r = begin; r <= std::min(diagonal, last); r++) {
            const Cell& cell = cells_[r * shape_.rows + diagonal - r];
            // In filter mode row r has an older word; before the pass is as long, what it has is no operand.
            const int64_t place = word.place - age(r);
            const bool zero_weight = cell.live == 0, zero_activation = place >= 0 && cell.x == 0;
            counts[MAC]++;
            counts[ZERO_WEIGHT] += zero_weight;
            counts[ZERO_ACTIVATION] += zero_activation;
            counts[ZERO] += zero_weight || zero_activation;
            counts[UNCHANGED] += place >= 1 && cell.x == cell.before;
            counts[ZERO_POINT] += place >= 0 && cell.x == word.fill;
        }
    }

    int64_t age(unsigned row) const {
        if (!number(fir_) || row >= shape_.filter_rows) return 0;
        const unsigned spacing = number(spacing_);
        const unsigned at_once = std::max(1u, std::min(shape_.most_lines, shape_.filter_rows / spacing));
        const unsigned line = std::min(row / spacing, at_once - 1);
        return int64_t(line) * (number(delay_) - spacing) + row - line * spacing;
    }
};
