// Everything that talks to DRAM, cycle by cycle: hw/fetch.py, hw/dma.py and the read arbiter of hw/axi.py.
//
// `clock` is the rising edge that ends a cycle. Its arguments, and what the const functions return, are wires of that
// cycle; the caller collects all of them before it clocks anything.
#pragma once

#include "instruction.hpp"
#include "streams.hpp"

struct Address {
    uint32_t addr;
    uint8_t len; // beats - 1
};

struct Burst {
    Address address;
    bool final, run_ends, gather;
    unsigned pitch, last_window;
};

class Fetch {
public:
    // `count` instructions at DRAM byte `first`.
    Fetch(unsigned word_bytes, uint32_t count, uint32_t first)
        : beats_(INSTR_BYTES / word_bytes), burst_words_(std::min(beats_, BURST_WORDS)),
          bursts_(beats_ / burst_words_), next_{first, uint8_t(burst_words_ - 1)}, to_request_(count),
          to_deliver_(count) {}

    Slice<Address> address;
    Fifo<uint32_t> out{FETCH_DEPTH};

    bool busy() const { return to_deliver_ != 0; }
    bool still() const { return address.empty() && !requests(); }

    // `taken`: the arbiter takes the address; `beat`: data arrives; `delivered`: the instruction at `out` is taken.
    void clock(bool taken, bool beat, bool delivered) {
        const bool offers = requests(), request = offers && address.ready();
        const bool opened = request && burst_ == 0;
        address.clock(offers ? &next_ : nullptr, taken);
        if (request) next_.addr += INSTR_BYTES / bursts_;
        if (request && ++burst_ == bursts_) {
            burst_ = 0;
            to_request_--;
        }
        credits_ += int(delivered) - int(opened);
        if (delivered) {
            out.pop();
            to_deliver_--;
        }
        if (beat && ++beat_ == beats_) {
            beat_ = 0;
            out.push(index_++);
        }
    }

private:
    unsigned beats_, burst_words_, bursts_;
    Address next_;
    uint32_t to_request_, to_deliver_, index_ = 0;
    unsigned credits_ = FETCH_DEPTH, burst_ = 0, beat_ = 0;

    bool requests() const { return to_request_ && (credits_ || burst_); }
};

// `BurstWalker`.
class Walker {
public:
    explicit Walker(unsigned word_bytes) : word_bytes_(word_bytes) {}

    bool busy() const { return active_ || valid_; }
    bool valid() const { return valid_; }
    const Burst& burst() const { return burst_; }
    bool ready(bool issue) const { return !active_ && (!valid_ || issue); }

    // `issue`: the burst is taken; `start`: the instruction that is taken, or null.
    void clock(bool issue, const Instruction* start) {
        const bool advance = active_ && (!valid_ || issue);
        if (issue) valid_ = false;
        if (advance) step();
        if (!start) return;
        const Instruction& i = *start;
        const unsigned pitch = i.opcode == OPCODE_LOAD ? i[TRANSFER_PITCH] : 0;
        burst_.gather = pitch;
        burst_.pitch = pitch ? pitch : word_bytes_;
        burst_.last_window = i[TRANSFER_WINDOWS] - 1;
        active_ = true;
        addr_ = i[TRANSFER_DRAM];
        stride_ = i[TRANSFER_DRAM_STRIDE];
        next_addr_ = addr_ + stride_;
        words_ = row_words_ = i[TRANSFER_ROW_WORDS];
        rows_ = i[TRANSFER_ROWS];
    }

private:
    unsigned word_bytes_;
    bool active_ = false, valid_ = false;
    Burst burst_ = {};
    uint32_t addr_ = 0, next_addr_ = 0, stride_ = 0;
    unsigned words_ = 0, row_words_ = 0, rows_ = 0;

    void step() {
        const unsigned room = BURST_WORDS - addr_ / word_bytes_ % BURST_WORDS;
        const bool row_ends = words_ <= room;
        const unsigned count = row_ends ? words_ : room;
        valid_ = true;
        burst_.address = {addr_, uint8_t(count - 1)};
        burst_.run_ends = row_ends;
        burst_.final = row_ends && rows_ == 1;
        addr_ += count * word_bytes_;
        words_ -= count;
        if (row_ends) {
            addr_ = next_addr_;
            next_addr_ += stride_;
            words_ = row_words_;
            active_ = --rows_ != 0;
        }
    }
};

class Load {
public:
    Load(unsigned word_bytes, unsigned outstanding)
        : walker_(word_bytes), size_(word_bytes), offset_(word_bytes - 1), flight_(outstanding) {}

    Slice<Address> address;

    bool busy() const { return walker_.busy() || flight_.valid(); }
    bool still() const { return !busy() && address.empty() && !done; }
    bool start_ready() const { return walker_.ready(issue()); }
    bool data_ready() const {
        const Burst& b = flight_.front();
        return flight_.valid() && (!b.gather || offset_ + b.pitch >= size_ || window_ == b.last_window || dropping_);
    }
    bool done = false; // also the release

    // `taken`: the arbiter takes the address; `beat`: data for this unit is on the bus.
    void clock(const Instruction* start, bool taken, bool beat) {
        const bool issues = issue(), take = beat && data_ready();
        const Burst added = walker_.burst(), b = flight_.front();
        address.clock(issues ? &added.address : nullptr, taken);
        walker_.clock(issues, start);
        const bool burst_ends = beat_ == b.address.len, run_ends = burst_ends && b.run_ends;
        const bool windows_end = window_ == b.last_window;
        done = take && burst_ends && b.final;
        if (take) beat_ = burst_ends ? 0 : beat_ + 1;
        if (take && run_ends) {
            offset_ = size_ - 1;
            window_ = 0;
            dropping_ = false;
        } else if (beat && flight_.valid() && b.gather && !dropping_) {
            offset_ = (offset_ + b.pitch) % size_;
            window_++;
            dropping_ = windows_end;
        }
        if (take && burst_ends) flight_.pop();
        if (issues) flight_.push(added);
    }

private:
    Walker walker_;
    unsigned size_, offset_, window_ = 0, beat_ = 0;
    bool dropping_ = false;
    Fifo<Burst> flight_;

    bool issue() const { return walker_.valid() && address.ready() && flight_.ready(); }
};

class Store {
public:
    Store(unsigned word_bytes, unsigned outstanding)
        : walker_(word_bytes), reads_(outstanding), flight_(outstanding) {}

    Slice<Address> address;
    Fifo<bool> words{ACT_READ_LATENCY + 2}; // whether the word is the last of its burst

    bool busy() const { return walker_.busy() || flight_.valid(); }
    bool still() const { return !busy() && address.empty() && !done; }
    bool start_ready() const { return walker_.ready(issue()); }
    bool response_ready() const { return flight_.valid(); }
    bool release() const { return arrived().en && arrived().final; }
    bool done = false;

    // `taken`: the address is; `sent`: the word at `words` is; `response`: a B response is valid.
    void clock(const Instruction* start, bool taken, bool sent, bool response) {
        const bool issues = issue();
        const Burst added = walker_.burst(), b = reads_.front();
        address.clock(issues ? &added.address : nullptr, taken);
        walker_.clock(issues, start);
        const bool read = reads_.valid() && credits_, burst_ends = beat_ == b.address.len;
        done = response && flight_.valid() && flight_.front();
        if (sent) words.pop();
        if (arrived().en) words.push(arrived().last);
        for (unsigned i = ACT_READ_LATENCY - 1; i > 0; i--) asked_[i] = asked_[i - 1];
        asked_[0] = {read, burst_ends, burst_ends && b.final};
        if (read) beat_ = burst_ends ? 0 : beat_ + 1;
        credits_ += int(sent) - int(read);
        if (read && burst_ends) reads_.pop();
        if (response && flight_.valid()) flight_.pop();
        if (issues) {
            reads_.push(added);
            flight_.push(added.final);
        }
    }

private:
    struct Asked {
        bool en, last, final;
    };

    Walker walker_;
    Fifo<Burst> reads_;
    Fifo<bool> flight_; // whether the burst ends its instruction
    Asked asked_[ACT_READ_LATENCY] = {};
    unsigned credits_ = ACT_READ_LATENCY + 2, beat_ = 0;

    const Asked& arrived() const { return asked_[ACT_READ_LATENCY - 1]; }
    bool issue() const { return walker_.valid() && address.ready() && flight_.ready(); }
};

// `ReadArbiter`.
class Arbiter {
public:
    explicit Arbiter(unsigned outstanding) : owners_(outstanding) {}

    Slice<Address> address;

    bool room() const { return address.ready() && owners_.ready(); }
    bool to_load(bool fetch_valid, bool load_valid) const { return load_valid && !(fetch_valid && load_was_last_); }
    bool owned() const { return owners_.valid(); }
    bool owner_is_load() const { return owners_.front(); }

    // `chosen`: the address that is offered, or null; `last`: the last beat of a burst is taken.
    void clock(const Address* chosen, bool to_load, bool taken, bool last) {
        const bool moves = chosen && room();
        address.clock(moves ? chosen : nullptr, taken);
        if (last) owners_.pop();
        if (moves) {
            owners_.push(to_load);
            load_was_last_ = to_load;
        }
    }

private:
    Fifo<bool> owners_; // of the bursts in flight: whether it is a load
    bool load_was_last_ = true;
};
