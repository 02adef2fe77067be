// Everything that talks to DRAM, cycle by cycle: hw/fetch.py, hw/dma.py and the read arbiter of hw/axi.py.
//
// Each unit has an address side and a data side, joined by queues of the bursts in flight. `clock_address` and
// `clock_data` are the rising edge that ends a cycle; their arguments, and what the const functions return, are wires of
// that cycle, and the caller collects all of them before it clocks anything. A side that does not move, in the sense of
// its const functions, needs no clock.
//
// While no wire changes, a data side only counts. `lasts` says for how many cycles, this one included, its own wires stay
// when those of the others do, NEVER if it does nothing; so `clock_data` has a number of equal cycles, at most that of
// every unit.
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
    // `program`: of `count` instructions at DRAM byte `first`.
    Fetch(unsigned word_bytes, const Instruction* program, uint32_t count, uint32_t first)
        : beats_(INSTR_BYTES / word_bytes), burst_words_(std::min(beats_, BURST_WORDS)),
          bursts_(beats_ / burst_words_), next_{first, uint8_t(burst_words_ - 1)}, to_request_(count),
          to_deliver_(count), next_read_(program) {}

    Slice<Address> address;
    Fifo<const Instruction*> out{FETCH_DEPTH};

    bool busy() const { return to_deliver_ != 0; }

    bool moves() const { return requests() && address.ready(); }

    // `taken`: the arbiter takes the address; `delivered`: the instruction at `out` is taken.
    void clock_address(bool taken, bool delivered) {
        const bool request = moves(), opened = request && burst_ == 0;
        address.clock(requests() ? &next_ : nullptr, taken);
        if (request) next_.addr += INSTR_BYTES / bursts_;
        if (request && ++burst_ == bursts_) {
            burst_ = 0;
            to_request_--;
        }
        credits_ += int(delivered) - int(opened);
        if (!delivered) return;
        out.pop();
        to_deliver_--;
    }

    uint64_t lasts(bool beat) const { return beat ? beats_ - beat_ : NEVER; }

    // A beat arrives in each of the cycles.
    void clock_data(uint64_t cycles) {
        if ((beat_ += cycles) != beats_) return;
        beat_ = 0;
        out.push(next_read_++);
    }

private:
    unsigned beats_, burst_words_, bursts_;
    Address next_;
    uint32_t to_request_, to_deliver_;
    const Instruction* next_read_;
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
    bool advances(bool issue) const { return active_ && (!valid_ || issue); }

    // `issue`: the burst is taken; `start`: the instruction that is taken, or null.
    void clock(bool issue, const Instruction* start) {
        const bool advance = advances(issue);
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
    bool start_ready() const { return walker_.ready(issue()); }
    bool data_ready() const {
        const Burst& b = flight_.front();
        return flight_.valid() && (!b.gather || offset_ + b.pitch >= size_ || window_ == b.last_window || dropping_);
    }
    bool done = false; // also the release

    bool issue() const { return walker_.valid() && address.ready() && flight_.ready(); }
    bool moves() const { return issue() || walker_.advances(false); }

    // `issues`: a burst is; `taken`: the arbiter takes the address.
    void clock_address(const Instruction* start, bool issues, bool taken) {
        address.clock(issues ? &walker_.burst().address : nullptr, taken);
        if (issues) flight_.push(walker_.burst());
        walker_.clock(issues, start);
    }

    // `beat`: data for this unit is on the bus.
    uint64_t lasts(bool beat) const {
        if (done) return 1;
        if (!beat) return NEVER;
        const Burst& b = flight_.front();
        return b.gather ? 1 : b.address.len + 1 - beat_;
    }

    void clock_data(bool beat, uint64_t cycles) {
        done = false;
        if (!beat) return;
        const Burst& b = flight_.front();
        const bool take = data_ready();
        if (take) beat_ += cycles;
        const bool burst_ends = take && beat_ == b.address.len + 1u;
        if (burst_ends && b.run_ends) {
            offset_ = size_ - 1;
            window_ = 0;
            dropping_ = false;
        } else if (b.gather && !dropping_) {
            offset_ = (offset_ + b.pitch) % size_;
            dropping_ = window_++ == b.last_window;
        }
        if (!burst_ends) return;
        done = b.final;
        beat_ = 0;
        flight_.pop();
    }

private:
    Walker walker_;
    unsigned size_, offset_, window_ = 0, beat_ = 0;
    bool dropping_ = false;
    Fifo<Burst> flight_;
};

class Store {
public:
    Store(unsigned word_bytes, unsigned outstanding)
        : walker_(word_bytes), reads_(outstanding), flight_(outstanding) {}

    Slice<Address> address;

    bool busy() const { return walker_.busy() || flight_.valid(); }
    bool start_ready() const { return walker_.ready(issue()); }
    bool response_ready() const { return flight_.valid(); }
    bool word() const { return words_; } // to send
    bool release() const { return finals_ & ARRIVED; }
    bool done = false;

    bool issue() const { return walker_.valid() && address.ready() && flight_.ready(); }
    bool moves() const { return issue() || walker_.advances(false); }

    // Whether a burst that is issued finds others before it, so that nothing changes on the data side.
    bool waits() const { return reads_.valid(); }

    // `issues`: a burst is; `taken`: DRAM takes the address.
    void clock_address(const Instruction* start, bool issues, bool taken) {
        address.clock(issues ? &walker_.burst().address : nullptr, taken);
        if (issues) {
            reads_.push(walker_.burst());
            flight_.push(walker_.burst().final);
        }
        walker_.clock(issues, start);
    }

    // `sent`: a word is; `response`: a B response is valid.
    uint64_t lasts(bool sent, bool response) const {
        const bool read = reading();
        if (response || done || finals_ || asked_ != (read ? ALL : 0)) return 1;
        if ((read && !words_) || (sent && !read && reads_.valid())) return 1; // the first word, the first credit
        if (!read) return sent ? words_ : NEVER;
        const unsigned left = reads_.front().address.len + 1 - beat_;
        return sent ? left : std::min(left, credits_);
    }

    void clock_data(bool sent, bool response, uint64_t cycles) {
        const bool read = reading(), arrives = asked_ & ARRIVED;
        done = response && flight_.valid() && flight_.front();
        if (response && flight_.valid()) flight_.pop();
        words_ += (int(arrives) - int(sent)) * int(cycles);
        credits_ += (int(sent) - int(read)) * int(cycles);
        if (read) beat_ += cycles;
        const Burst& b = reads_.front();
        const bool burst_ends = read && beat_ == b.address.len + 1u;
        asked_ = (asked_ << 1 | read) & ALL;
        finals_ = (finals_ << 1 | (burst_ends && b.final)) & ALL;
        if (!burst_ends) return;
        beat_ = 0;
        reads_.pop();
    }

private:
    // Reads of the activation buffer on their way, a bit for each of the last cycles, and those that end an instruction.
    static constexpr unsigned ALL = (1u << ACT_READ_LATENCY) - 1, ARRIVED = 1u << (ACT_READ_LATENCY - 1);

    Walker walker_;
    Fifo<Burst> reads_;
    Fifo<bool> flight_; // whether the burst ends its instruction
    unsigned asked_ = 0, finals_ = 0;
    unsigned words_ = 0, credits_ = ACT_READ_LATENCY + 2, beat_ = 0; // `credits_`: words that may be read

    bool reading() const { return reads_.valid() && credits_; }
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

    // `moved`: the address that is taken from fetch or load, or null; `taken`: DRAM takes the one at `address`.
    void clock_address(const Address* moved, bool to_load, bool taken) {
        address.clock(moved, taken);
        if (!moved) return;
        owners_.push(to_load);
        load_was_last_ = to_load;
    }

    // The last beat of a burst is taken.
    void clock_data() { owners_.pop(); }

private:
    Fifo<bool> owners_; // of the bursts in flight: whether it is a load
    bool load_was_last_ = true;
};
