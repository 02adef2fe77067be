// DRAM behind an AXI4 slave port: deterministic, cycle by cycle, independent of any simulator.
//
// port.hpp has the contract of its time, and this file its contents: bytes outside the memory answer DECERR, read as 0
// and are not written.
//
// Only INCR bursts of full-width, aligned beats are served. That, AXI's rule that a valid payload holds until it is
// taken, and the 4 KiB rule are checked; the first violation is kept as text.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>

#include "port.hpp"
#include "ring.hpp"

template <unsigned BYTES>
class Dram {
    using Port = DramPort<BYTES>;

public:
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
    struct SlavePins : Port::Pins {
        uint8_t rresp = OKAY, bresp = OKAY;
        uint8_t rdata[BYTES] = {};
    };
    // Addresses [low, high) that answer SLVERR.
    struct Range {
        uint64_t low = 0, high = 0;
        bool has(uint64_t a) const { return a >= low && a < high; }
    };
    struct Faults : Port::Faults {
        Range read_error, write_error;
    };

    Faults faults;

    Dram(uint8_t* memory, uint64_t size) : memory_(memory), size_(size) {}

    // As of `DramPort`.
    void configure(uint32_t latency, uint32_t bytes_per_cycle, const BankTiming& banks, uint32_t stall, uint32_t seed) {
        port_.faults = faults;
        port_.configure(latency, bytes_per_cycle, banks, stall, seed);
        forget();
    }

    // Begin with cycle 0, as if never used: no burst in flight, no row open.
    void restart() {
        port_.faults = faults;
        port_.restart();
        forget();
    }

    // Drop every burst in flight; the contents, the settings and the faults stay.
    void reset() {
        port_.faults = faults;
        port_.reset();
        forget();
    }

    const SlavePins& pins() const { return pins_; }
    const std::string& violation() const { return violation_; }
    void forget_violation() { violation_.clear(); }

    void clock(const MasterPins& m) {
        check_held(m);
        check_burst(m.ar, pins_.arready, "read");
        check_burst(m.aw, pins_.awready, "write");
        const bool holds = pins_.rvalid && !m.rready;
        if (pins_.bvalid && m.bready) responses_.pop();
        if (m.w.valid && pins_.wready) write(m.w);
        port_.faults = faults;
        port_.clock({address(m.ar), address(m.aw), m.w.valid, m.rready, m.bready});
        static_cast<typename Port::Pins&>(pins_) = port_.pins();
        if (pins_.rvalid && !holds) read(port_.read_address());
        if (pins_.bvalid) pins_.bresp = responses_.front();
    }

private:
    uint8_t* memory_;
    uint64_t size_;
    Port port_;
    SlavePins pins_;
    MasterPins last_;
    Ring<uint8_t, Port::MAX_OUTSTANDING> responses_; // of the writes whose last beat is taken
    uint8_t response_ = OKAY;                        // of the one that is being taken
    std::string violation_;

    static typename Port::Address address(const AddressPins& a) { return {a.valid, a.addr, a.len}; }

    void forget() {
        pins_ = SlavePins();
        static_cast<typename Port::Pins&>(pins_) = port_.pins();
        last_ = MasterPins();
        responses_.clear();
        response_ = OKAY;
    }

    void read(uint64_t addr) {
        const bool inside = addr + BYTES <= size_;
        pins_.rresp = !inside ? DECERR : faults.read_error.has(addr) ? SLVERR : OKAY;
        if (inside) std::memcpy(pins_.rdata, memory_ + addr, BYTES);
        else std::memset(pins_.rdata, 0, BYTES);
    }

    void write(const WritePins& w) {
        const uint64_t addr = port_.write_address();
        if (addr + BYTES > size_) response_ = DECERR;
        else if (faults.write_error.has(addr)) response_ = SLVERR;
        else
            for (unsigned i = 0; i < BYTES; i++)
                if (w.strb >> i & 1) memory_[addr + i] = w.data[i];
        const bool last = port_.write_beats() == 1;
        if (w.last != last) fail("wlast does not mark the last beat of the burst");
        if (!last) return;
        responses_.push(response_);
        response_ = OKAY;
    }

    void check_burst(const AddressPins& a, bool ready, const char* kind) {
        if (!a.valid || !ready) return;
        if (a.burst != 1 || (1u << a.size) != BYTES || a.addr % BYTES)
            fail(std::string(kind) + " burst is not INCR with full-width, aligned beats");
        if (a.addr / 4096 != (a.addr + (a.len + 1u) * uint64_t(BYTES) - 1) / 4096)
            fail(std::string(kind) + " burst crosses a 4 KiB boundary");
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
        if (violation_.empty()) violation_ = "cycle " + std::to_string(port_.cycle()) + ": " + what;
    }
};
