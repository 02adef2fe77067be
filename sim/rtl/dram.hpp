// DRAM behind an AXI4 slave port: deterministic, cycle by cycle, independent of any simulator.
//
// Time. `pins()` holds what the slave drives during cycle c; `clock(master)` is the rising edge that ends cycle c, where
// a channel transfers when its valid and ready are both high. The contract of the fixed model, with latency L and B bytes
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
// With banks, banks.hpp has the contract of the time on DRAM's own data bus. The port then does this:
//
// * Bursts are accesses in one order: a read from the edge on that takes its address, a write from the one that takes
//   its last beat (the port buffers what is written).
// * A beat that is read is offered from the first cycle on that begins when its last byte has been on the bus; the B
//   response from the first that begins when the last bytes have been.
// * Each channel passes a beat per cycle, and wready is high whenever an accepted AW still misses beats.
//
// In both:
//
// * At most MAX_OUTSTANDING bursts per direction are accepted and not yet answered.
// * Bytes outside the memory answer DECERR, read as 0 and are not written.
//
// Only INCR bursts of full-width, aligned beats are served. That, AXI's rule that a valid payload holds until it is
// taken, and the 4 KiB rule are checked; the first violation is kept as text.
#pragma once

#include <cstdint>
#include <cstring>
#include <deque>
#include <string>

#include "banks.hpp"

template <unsigned BYTES>
class Dram {
public:
    static constexpr unsigned MAX_OUTSTANDING = 64;
    enum Response : uint8_t { OKAY = 0, SLVERR = 2, DECERR = 3 };

    // Driven by the master.
    struct AddressPins {
        bool valid = false;
        uint32_t addr = 0;
        uint8_t len = 0, size = 0, burst = 0;
        bool same(const AddressPins& o) const {
            return valid == o.valid && addr == o.addr && len == o.len && size == o.size && burst == o.burst;
        }
    };
    struct WritePins {
        bool valid = false, last = false;
        uint64_t strb = 0;
        uint8_t data[BYTES] = {};
        bool same(const WritePins& o) const {
            return valid == o.valid && last == o.last && strb == o.strb && !std::memcmp(data, o.data, BYTES);
        }
    };
    struct MasterPins {
        AddressPins ar, aw;
        WritePins w;
        bool rready = false, bready = false;
    };
    // Driven by this model.
    struct SlavePins {
        bool arready = false, awready = false, wready = false;
        bool rvalid = false, rlast = false, bvalid = false;
        uint8_t rresp = OKAY, bresp = OKAY;
        uint8_t rdata[BYTES] = {};
    };
    // Addresses [low, high) that answer SLVERR.
    struct Range {
        uint64_t low = 0, high = 0;
        bool has(uint64_t a) const { return a >= low && a < high; }
    };
    struct Faults {
        Range read_error, write_error;
        bool no_read_data = false;      // reads are accepted and never answered
        bool no_write_response = false; // writes are accepted and never answered
        bool no_accept = false;         // no ready is ever given
    };

    Faults faults;

    Dram(uint8_t* memory, uint64_t size) : memory_(memory), size_(size) {}

    // `stall` / 256 is the probability with which each ready or new valid is withheld for a cycle (0: never).
    // With `banks`, latency and rate are theirs.
    void configure(uint32_t latency, uint32_t bytes_per_cycle, const BankTiming& banks, uint32_t stall, uint32_t seed) {
        banks_ = Banks(banks);
        latency_ = latency;
        rate_ = banks_.exist() ? 2 * BYTES : bytes_per_cycle; // a beat of each direction: what the port can pass
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

    // Pass `cycles` in which the master drives no valid and no burst is in flight.
    void skip(uint64_t cycles) {
        cycle_ += cycles;
        offer();
    }

    // Drop every burst in flight; the contents, the settings and the faults stay.
    void reset() {
        reads_.clear();
        writes_.clear();
        answers_.clear();
        pins_ = SlavePins();
        last_ = MasterPins();
        write_waits_ = write_charged_ = write_was_last_ = false;
        offer();
    }

    const SlavePins& pins() const { return pins_; }
    const std::string& violation() const { return violation_; }
    void forget_violation() { violation_.clear(); }

    void clock(const MasterPins& m) {
        check_held(m);
        if (pins_.rvalid && m.rready) pins_.rvalid = false;
        if (pins_.bvalid && m.bready) {
            pins_.bvalid = false;
            answers_.pop_front();
        }
        if (m.ar.valid && pins_.arready) take_read(m.ar);
        if (m.w.valid && pins_.wready) take_write(m.w);
        if (m.aw.valid && pins_.awready) writes_.push_back(burst(m.aw, "write"));
        write_waits_ = m.w.valid && !pins_.wready;
        cycle_++;
        offer();
    }

private:
    struct Burst {
        uint64_t addr;
        unsigned beats;
        uint64_t ready; // first cycle in which a beat may be offered
        uint8_t resp;
        uint64_t first, bytes; // of the whole burst: address of its first byte, size
        uint64_t start = 0;    // with banks: when its first byte is read
    };
    struct Answer {
        uint64_t ready;
        uint8_t resp;
    };

    uint8_t* memory_;
    uint64_t size_;
    uint64_t cycle_ = 0, bus_free_ = 0;
    uint64_t latency_ = 1, rate_ = BYTES;
    Banks banks_;
    uint32_t stall_ = 0;
    uint64_t random_ = 1;
    std::deque<Burst> reads_, writes_;
    std::deque<Answer> answers_;
    SlavePins pins_;
    MasterPins last_;
    bool write_waits_ = false, write_charged_ = false, write_was_last_ = false;
    std::string violation_;

    uint64_t bus_start() const { return bus_free_ > cycle_ * rate_ ? bus_free_ : cycle_ * rate_; }
    bool bus_has_room() const { return bus_start() < (cycle_ + 1) * rate_; }
    void take_bus() { bus_free_ = bus_start() + BYTES; }

    // The edge that ends this cycle, and the first cycle that does not begin before a time, for the banks.
    uint64_t edge() const { return (cycle_ + 1) * Banks::CYCLE; }
    static uint64_t from(uint64_t time) { return (time + Banks::CYCLE - 1) / Banks::CYCLE; }
    // The first cycle that may offer the next beat of a burst.
    uint64_t beat_ready(const Burst& b) const { return from(b.start + banks_.length(b.addr + BYTES - b.first)); }

    bool stalled() {
        if (!stall_) return false;
        random_ ^= random_ << 13; // xorshift64 (Marsaglia 2003)
        random_ ^= random_ >> 7;
        random_ ^= random_ << 17;
        return ((random_ >> 24) & 255) < stall_;
    }

    // Decide what the slave drives in cycle_.
    void offer() {
        const bool open = !faults.no_accept;
        pins_.arready = open && reads_.size() < MAX_OUTSTANDING && !stalled();
        pins_.awready = open && writes_.size() + answers_.size() < MAX_OUTSTANDING && !stalled();
        const bool write_open = open && !writes_.empty() && !stalled();
        const bool read_wants = !pins_.rvalid && !reads_.empty() && reads_.front().ready <= cycle_
            && !faults.no_read_data && !stalled();
        pins_.wready = write_charged_ = false;
        // A waiting W beat cannot be withdrawn, so its place on the bus can be taken already now.
        if (write_waits_ && write_open && !write_was_last_ && bus_has_room()) {
            pins_.wready = write_charged_ = true;
            take_bus();
        }
        if (read_wants && bus_has_room()) offer_read();
        if (!pins_.wready && write_open && bus_has_room()) pins_.wready = true;
        if (!pins_.bvalid && !answers_.empty() && answers_.front().ready <= cycle_ && !faults.no_write_response
            && !stalled()) {
            pins_.bvalid = true;
            pins_.bresp = answers_.front().resp;
        }
    }

    void offer_read() {
        take_bus();
        write_was_last_ = false;
        Burst& b = reads_.front();
        const bool inside = b.addr + BYTES <= size_;
        pins_.rresp = !inside ? DECERR : faults.read_error.has(b.addr) ? SLVERR : OKAY;
        if (inside) std::memcpy(pins_.rdata, memory_ + b.addr, BYTES);
        else std::memset(pins_.rdata, 0, BYTES);
        pins_.rvalid = true;
        pins_.rlast = --b.beats == 0;
        b.addr += BYTES;
        if (pins_.rlast) reads_.pop_front();
        else if (banks_.exist()) b.ready = beat_ready(b);
    }

    void take_write(const WritePins& w) {
        if (!write_charged_) take_bus();
        write_was_last_ = true;
        Burst& b = writes_.front();
        if (b.addr + BYTES > size_) b.resp = DECERR;
        else if (faults.write_error.has(b.addr)) b.resp = SLVERR;
        else
            for (unsigned i = 0; i < BYTES; i++)
                if (w.strb >> i & 1) memory_[b.addr + i] = w.data[i];
        b.addr += BYTES;
        b.beats--;
        if (w.last != (b.beats == 0)) fail("wlast does not mark the last beat of the burst");
        if (b.beats == 0) {
            answers_.push_back({write_ready(b), b.resp});
            writes_.pop_front();
        }
    }

    void take_read(const AddressPins& a) {
        reads_.push_back(burst(a, "read"));
        if (!banks_.exist()) return;
        Burst& b = reads_.back();
        b.start = banks_.serve(edge(), b.first, b.bytes, false);
        b.ready = beat_ready(b);
    }

    // The first cycle that may offer the response of a burst whose last beat is taken.
    uint64_t write_ready(const Burst& b) {
        if (!banks_.exist()) return cycle_ + latency_;
        return from(banks_.serve(edge(), b.first, b.bytes, true) + banks_.length(b.bytes));
    }

    Burst burst(const AddressPins& a, const char* kind) {
        const uint64_t bytes = (a.len + 1u) * uint64_t(BYTES);
        if (a.burst != 1 || (1u << a.size) != BYTES || a.addr % BYTES)
            fail(std::string(kind) + " burst is not INCR with full-width, aligned beats");
        if (a.addr / 4096 != (a.addr + bytes - 1) / 4096) fail(std::string(kind) + " burst crosses a 4 KiB boundary");
        return {a.addr, a.len + 1u, cycle_ + latency_, OKAY, a.addr, bytes};
    }

    void check_held(const MasterPins& m) {
        if (last_.ar.valid && !m.ar.same(last_.ar)) fail("read address changed before it was taken");
        if (last_.aw.valid && !m.aw.same(last_.aw)) fail("write address changed before it was taken");
        if (last_.w.valid && !m.w.same(last_.w)) fail("write data changed before it was taken");
        last_.ar.valid = last_.aw.valid = last_.w.valid = false;
        if (m.ar.valid && !pins_.arready) last_.ar = m.ar;
        if (m.aw.valid && !pins_.awready) last_.aw = m.aw;
        if (m.w.valid && !pins_.wready) last_.w = m.w;
    }

    void fail(const std::string& what) {
        if (violation_.empty()) violation_ = "cycle " + std::to_string(cycle_) + ": " + what;
    }
};
