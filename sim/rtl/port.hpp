// When the AXI4 slave port of a DRAM takes and gives what: its timing without contents, cycle by cycle.
//
// `pins()` holds what the slave drives during cycle c; `clock(master)` is the rising edge that ends cycle c, where a
// channel transfers when its valid and ready are both high. The contract of the fixed model, with latency L and B bytes
// per cycle:
//
// * One data bus carries the beats of reads and of writes. It is a line on which cycle c owns the bytes
//   [c*B, (c+1)*B). A beat of BYTES bytes takes the bus from max(free, c*B) on, and may do so in cycle c when that
//   start lies before (c+1)*B; then free = start + BYTES. Hence the rate is exactly B bytes per cycle for any ratio of
//   B to BYTES, and an idle bus stores no credit.
// * Reads are answered in order. A burst accepted in cycle t offers its beats from cycle t + L on, each one in the first
//   cycle in which the beat before it is gone and the bus has room; rvalid then stays until rready.
// * Writes are taken in order. wready is high in a cycle when an accepted AW still misses beats and the bus has room.
//   The B response is offered L cycles after the last beat, in order.
// * When both directions wait for the bus, the one that was not served last goes first. A W beat counts as waiting from
//   the cycle after it was first refused.
//
// With banks, banks.hpp has the contract of the time on DRAM's own data bus. The port then does this:
//
// * Bursts are accesses in one order: a read from the edge on that takes its address, a write from the one that takes
//   its last beat (the port buffers what is written).
// * A beat that is read is offered from the first cycle on that begins when its last byte has been on the bus; the B
//   response from the first that begins when the last bytes have been.
// * Each channel passes a beat per cycle, and wready is high whenever an accepted AW still misses beats.
//
// In both, at most MAX_OUTSTANDING bursts per direction are accepted and not yet answered.
#pragma once

#include <algorithm>
#include <cstdint>

#include "banks.hpp"
#include "ring.hpp"

// Without DISTURBED, there are neither stalls nor faults.
template <unsigned BYTES, bool DISTURBED = true>
class DramPort {
public:
    static constexpr unsigned MAX_OUTSTANDING = 64;
    static constexpr uint64_t NEVER = ~uint64_t(0);

    // Driven by the master.
    struct Address {
        bool valid = false;
        uint32_t addr = 0;
        uint8_t len = 0; // beats - 1
    };
    struct Master {
        Address ar, aw;
        bool wvalid = false, rready = false, bready = false;
    };
    // Driven by the slave.
    struct Pins {
        bool arready = false, awready = false, wready = false;
        bool rvalid = false, rlast = false, bvalid = false;
    };
    struct Faults {
        bool no_read_data = false;      // reads are accepted and never answered
        bool no_write_response = false; // writes are accepted and never answered
        bool no_accept = false;         // no ready is ever given
    };

    Faults faults;

    // `stall` / 256 is the probability with which each ready or new valid is withheld for a cycle (0: never).
    // With `banks`, latency and rate are theirs.
    void configure(uint32_t latency, uint32_t bytes_per_cycle, const BankTiming& banks, uint32_t stall, uint32_t seed) {
        banks_ = Banks(banks);
        latency_ = latency;
        rate_ = banks_.exist() ? 2 * BYTES : bytes_per_cycle; // a beat of each direction: what the port can pass
        gapless_ = !banks_.exist() || BYTES * banks.burst_time <= banks.burst_bytes * Banks::CYCLE;
        stall_ = stall;
        random_ = 0x9E3779B97F4A7C15ull ^ seed;
        restart();
    }

    // Begin with cycle 0, as if never used: no burst in flight, no row open.
    void restart() {
        cycle_ = bus_free_ = 0;
        banks_.reset();
        reset();
    }

    // Drop every burst in flight; the settings and the faults stay.
    void reset() {
        reads_.clear();
        writes_.clear();
        answers_.clear();
        pins_ = Pins();
        write_waits_ = write_charged_ = write_was_last_ = false;
        offer();
    }

    const Pins& pins() const { return pins_; }
    uint64_t cycle() const { return cycle_; }
    // The byte address of the beat that is offered, and of the one that is taken next; beats that the latter's burst
    // still misses.
    uint64_t read_address() const { return read_address_; }
    uint64_t write_address() const { return writes_.front().next(); }
    unsigned write_beats() const { return writes_.front().beats; }

    // For how many cycles, this one included, the pins stay as they are when the master's do; at least 1. In the last of
    // them `rlast` may be high, which `ends` tells.
    uint64_t lasts(const Master& m) const {
        const bool read = pins_.rvalid && m.rready, write = m.wvalid && pins_.wready;
        if ((DISTURBED && stall_) || (m.ar.valid && pins_.arready) || (m.aw.valid && pins_.awready)
            || (pins_.bvalid && m.bready))
            return 1;
        uint64_t change = !pins_.bvalid && !answers_.empty() ? answers_.front().ready : NEVER; // the cycle of it
        const auto at = [&](uint64_t cycle) { change = std::min(change, cycle); };
        if (read || write) {
            const bool write_turns = m.wvalid && !pins_.wready && !writes_.empty();
            if (!flow(read, write) || (read && pins_.rlast) || write_turns) return 1;
            if (read) at(cycle_ + reads_.front().beats + pins_.arready); // which is low when one burst more has no place
            if (write) at(cycle_ + writes_.front().beats);
            if (!pins_.rvalid && !reads_.empty()) at(reads_.front().ready);
        } else {
            if (!pins_.rvalid && !reads_.empty()) at(std::max(reads_.front().ready, bus_room()));
            if (!pins_.wready && !writes_.empty()) at(bus_room());
        }
        return change > cycle_ ? change - cycle_ : 1;
    }

    bool ends(uint64_t cycles) const { return pins_.rlast || cycles > reads_.front().beats; }

    // An address that finds others waiting changes no pin. It may be taken in any cycle until the next change, and be left
    // out when that is clocked.
    bool read_waits() const { return !reads_.empty() && reads_.size() + 1 < MAX_OUTSTANDING; }
    bool write_waits() const { return !writes_.empty() && writes_.size() + answers_.size() + 1 < MAX_OUTSTANDING; }
    void take_read(const Address& a, uint64_t cycle) {
        Burst& b = accept(reads_, a, cycle);
        if (!banks_.exist()) return;
        b.start = banks_.serve((cycle + 1) * Banks::CYCLE, b.addr, b.bytes(), false);
        b.ready = beat_ready(b);
    }
    void take_write_address(const Address& a, uint64_t cycle) { accept(writes_, a, cycle); }

    // End this cycle, and before it `cycles` - 1 equal ones, of as many as `lasts` says.
    void clock(const Master& m, uint64_t cycles = 1) {
        const bool read = pins_.rvalid && m.rready, write = m.wvalid && pins_.wready;
        if (cycles > 1) pass(cycles - 1, read, write);
        if (read) pins_.rvalid = false;
        if (pins_.bvalid && m.bready) {
            pins_.bvalid = false;
            answers_.pop();
        }
        if (m.ar.valid && pins_.arready) take_read(m.ar, cycle_);
        if (write) take_write();
        if (m.aw.valid && pins_.awready) take_write_address(m.aw, cycle_);
        write_waits_ = m.wvalid && !pins_.wready;
        cycle_++;
        offer();
    }

private:
    struct Burst {
        uint32_t addr, length; // of the whole burst: address of its first byte, beats
        uint32_t beats;        // that are left
        uint64_t ready;        // first cycle in which a beat may be offered
        uint64_t start;        // with banks: when its first byte is read
        uint64_t next() const { return addr + (length - beats) * uint64_t(BYTES); } // address of the next beat
        uint64_t bytes() const { return length * uint64_t(BYTES); }
    };
    struct Answer {
        uint64_t ready;
    };

    uint64_t cycle_ = 0, bus_free_ = 0;
    uint64_t latency_ = 1, rate_ = BYTES;
    Banks banks_;
    bool gapless_ = true; // a burst of reads has no more than a cycle between its beats, but for the bus
    uint32_t stall_ = 0;
    uint64_t random_ = 1;
    Ring<Burst, MAX_OUTSTANDING> reads_, writes_;
    Ring<Answer, MAX_OUTSTANDING> answers_;
    Pins pins_;
    uint64_t read_address_ = 0;
    bool write_waits_ = false, write_charged_ = false, write_was_last_ = false;

    uint64_t bus_start() const { return std::max(bus_free_, cycle_ * rate_); }
    bool bus_has_room() const { return bus_start() < (cycle_ + 1) * rate_; }
    void take_bus() { bus_free_ = bus_start() + BYTES; }
    // The first cycle in which the bus has room, if nothing takes it.
    uint64_t bus_room() const { return bus_has_room() ? cycle_ : bus_free_ / rate_; }

    // Whether beats that pass in this cycle are followed by others in the next, and take the bus like these.
    bool flow(bool read, bool write) const {
        const uint64_t taken = read ? BYTES : 0, start = cycle_ * rate_;
        return taken + (write ? BYTES : 0) <= rate_ && (read ? bus_free_ == start + BYTES : bus_free_ <= start)
            && (!read || gapless_);
    }

    // `cycles` in which the pins stay.
    void pass(uint64_t cycles, bool read, bool write) {
        if (read) {
            pins_.rlast = (reads_.front().beats -= cycles) == 0;
            if (pins_.rlast) reads_.pop();
        }
        if (write) writes_.front().beats -= cycles;
        if (read || write) bus_free_ += cycles * rate_;
        cycle_ += cycles;
    }

    // The first cycle that does not begin before a time of the banks.
    static uint64_t from(uint64_t time) { return (time + Banks::CYCLE - 1) / Banks::CYCLE; }
    // The first cycle that may offer the next beat of a burst.
    uint64_t beat_ready(const Burst& b) const { return from(b.start + banks_.length(b.bytes() - (b.beats - 1) * uint64_t(BYTES))); }

    bool stalled() {
        if (!DISTURBED || !stall_) return false;
        random_ ^= random_ << 13; // xorshift64 (Marsaglia 2003)
        random_ ^= random_ >> 7;
        random_ ^= random_ << 17;
        return ((random_ >> 24) & 255) < stall_;
    }

    // Decide what the slave drives in cycle_.
    void offer() {
        const bool open = !DISTURBED || !faults.no_accept;
        pins_.arready = open && reads_.size() < MAX_OUTSTANDING && !stalled();
        pins_.awready = open && writes_.size() + answers_.size() < MAX_OUTSTANDING && !stalled();
        const bool write_open = open && !writes_.empty() && !stalled();
        const bool read_wants = !pins_.rvalid && !reads_.empty() && reads_.front().ready <= cycle_
            && !(DISTURBED && faults.no_read_data) && !stalled();
        pins_.wready = write_charged_ = false;
        // A waiting W beat cannot be withdrawn, so its place on the bus can be taken already now.
        if (write_waits_ && write_open && !write_was_last_ && bus_has_room()) {
            pins_.wready = write_charged_ = true;
            take_bus();
        }
        if (read_wants && bus_has_room()) offer_read();
        if (!pins_.wready && write_open && bus_has_room()) pins_.wready = true;
        if (!pins_.bvalid && !answers_.empty() && answers_.front().ready <= cycle_
            && !(DISTURBED && faults.no_write_response) && !stalled())
            pins_.bvalid = true;
    }

    void offer_read() {
        take_bus();
        write_was_last_ = false;
        Burst& b = reads_.front();
        read_address_ = b.next();
        pins_.rvalid = true;
        pins_.rlast = --b.beats == 0;
        if (pins_.rlast) reads_.pop();
        else if (banks_.exist()) b.ready = beat_ready(b);
    }

    void take_write() {
        if (!write_charged_) take_bus();
        write_was_last_ = true;
        Burst& b = writes_.front();
        if (--b.beats) return;
        answers_.push({write_ready(b)});
        writes_.pop();
    }

    // The first cycle that may offer the response of a burst whose last beat is taken.
    uint64_t write_ready(const Burst& b) {
        if (!banks_.exist()) return cycle_ + latency_;
        return from(banks_.serve((cycle_ + 1) * Banks::CYCLE, b.addr, b.bytes(), true) + banks_.length(b.bytes()));
    }

    Burst& accept(Ring<Burst, MAX_OUTSTANDING>& bursts, const Address& a, uint64_t cycle) {
        Burst& b = bursts.push();
        b.addr = a.addr;
        b.length = b.beats = a.len + 1u;
        b.ready = cycle + latency_;
        return b;
    }
};
