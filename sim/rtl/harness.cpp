// The Verilated core, a DRAM on its AXI4 port and a CSR master on its AXI4-Lite port, behind a C interface.
//
// Each cycle costs two evaluations: inputs settle while the clock is low, outputs are sampled, then the clock rises with
// the inputs unchanged. Everything the DRAM drives is registered, so no third evaluation is needed.
//
// Compiled with -DWORD_BYTES=<bytes per beat>. Where Verilator traces, to FST or to VCD, the cycles of the runs can be
// recorded; where it traces to VCD, they can also be counted.

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "Vcore.h"
#include "dram.hpp"
#include "verilated.h"
#if VM_TRACE_FST
#include "verilated_fst_c.h"
using WaveFile = VerilatedFstC;
#elif VM_TRACE_VCD
#include "activity.hpp"
using WaveFile = VerilatedVcdC;
#endif

struct ArrayShape; // asks for an `Activity`

// Verilator spells a double underscore inside a name as `___05F`.
#define BUS(pin) top_->bus___05F##pin
#define CSR(pin) top_->csr___05F##pin

namespace {

constexpr unsigned UNITS = 4;
constexpr unsigned RESET_CYCLES = 4;
constexpr unsigned CSR_LIMIT = 1000; // cycles until an AXI4-Lite access counts as dead
using Memory = Dram<WORD_BYTES>;

enum Event { ISSUE = 0, RETIRE = 1, EVENTS };
enum Fault { READ_ERROR, WRITE_ERROR, NO_READ_DATA, NO_WRITE_RESPONSE, NO_ACCEPT };

class Harness {
public:
    Harness(uint64_t dram_bytes, const char* waves, const ArrayShape* activity)
        : memory_(static_cast<uint8_t*>(std::calloc(dram_bytes, 1)), &std::free), dram(memory_.get(), dram_bytes) {
        context_.reset(new VerilatedContext);
        context_->randReset(0);
#if VM_TRACE
        context_->traceEverOn(waves || activity);
#endif
        top_.reset(new Vcore(context_.get(), "TOP"));
#if VM_TRACE
#if VM_TRACE_VCD
        if (activity) {
            activity_.reset(new Activity(*activity));
            waves_.reset(new WaveFile(activity_.get()));
            waves = "activity";
        } else
#endif
        if (waves)
            waves_.reset(new WaveFile);
        if (waves_) {
            top_->trace(waves_.get(), 99);
            waves_->open(waves);
        }
#else
        (void)waves;
        (void)activity;
#endif
    }

    ~Harness() {
        top_->final();
#if VM_TRACE
        if (waves_) waves_->close();
#endif
    }

    uint8_t* memory() { return memory_.get(); }
    uint64_t now() const { return cycle_; }

    void reset() {
        recording_ = false;
        CSR(awvalid) = CSR(wvalid) = CSR(arvalid) = 0;
        CSR(bready) = CSR(rready) = 0;
        top_->rst = 1;
        for (unsigned i = 0; i < RESET_CYCLES; i++) {
            dram.reset();
            step();
        }
        top_->rst = 0;
        dram.reset();
        dram.forget_violation();
        forget_events();
    }

    // Run until the interrupt is high (1) or `limit` cycles have passed (0).
    int run(uint64_t limit) {
        for (uint64_t i = 0; i < limit; i++)
            if (step()) {
                recording_ = false;
                return 1;
            }
        return 0;
    }

    // A run begins, and with it the cycle `time` of the recording. Its time must depend on nothing before, so its DRAM
    // begins anew.
    void begin(uint64_t time) {
        forget_events();
        dram.restart();
        offset_ = time - cycle_;
        recording_ = true;
#if VM_TRACE_VCD
        if (Activity* activity = this->activity()) activity->begin();
#endif
    }

    // Record the cycles [from, to) alone.
    void window(uint64_t from, uint64_t to) {
        from_ = from;
        to_ = to;
    }

    // Return the AXI response, or -1 when the slave does not answer.
    int csr_write(uint32_t address, uint32_t data) {
        CSR(awaddr) = address;
        CSR(awvalid) = 1;
        CSR(wdata) = data;
        CSR(wstrb) = 15;
        CSR(wvalid) = 1;
        CSR(bready) = 1;
        for (unsigned i = 0; i < CSR_LIMIT; i++) {
            settle();
            const bool aw = CSR(awvalid) && CSR(awready), w = CSR(wvalid) && CSR(wready);
            const bool b = CSR(bvalid);
            const int response = CSR(bresp);
            rise();
            if (aw) CSR(awvalid) = 0;
            if (w) CSR(wvalid) = 0;
            if (b) {
                CSR(bready) = 0;
                return response;
            }
        }
        return -1;
    }

    int csr_read(uint32_t address, uint32_t* data) {
        CSR(araddr) = address;
        CSR(arvalid) = 1;
        CSR(rready) = 1;
        for (unsigned i = 0; i < CSR_LIMIT; i++) {
            settle();
            const bool ar = CSR(arvalid) && CSR(arready), r = CSR(rvalid);
            const int response = CSR(rresp);
            *data = CSR(rdata);
            rise();
            if (ar) CSR(arvalid) = 0;
            if (r) {
                CSR(rready) = 0;
                return response;
            }
        }
        return -1;
    }

#if VM_TRACE_VCD
    // The counts so far, or null where there are none.
    Activity* activity() {
        if (activity_) {
            waves_->flush();
            activity_->finish();
        }
        return activity_.get();
    }
#endif

    const std::vector<uint64_t>& events(unsigned unit, unsigned kind) const { return events_[kind][unit]; }
    void forget_events() {
        for (auto& kind : events_)
            for (auto& cycles : kind) cycles.clear();
    }

private:
    std::unique_ptr<uint8_t, decltype(&std::free)> memory_;
    std::unique_ptr<VerilatedContext> context_;
    std::unique_ptr<Vcore> top_;
#if VM_TRACE_VCD
    std::unique_ptr<Activity> activity_;
#endif
#if VM_TRACE
    std::unique_ptr<WaveFile> waves_; // writes to `activity_` where there is one
    uint64_t next_ = 0; // time of the recording, in tenths of a cycle
#endif
    bool recording_ = false;
    uint64_t offset_ = 0, from_ = 0, to_ = ~uint64_t(0);
    uint64_t cycle_ = 0;
    std::vector<uint64_t> events_[EVENTS][UNITS];
    Memory::MasterPins master_;

public:
    Memory dram;

private:
    // One cycle; the value of the interrupt before its rising edge.
    bool step() {
        settle();
        const bool irq = top_->irq;
        rise();
        return irq;
    }

    void settle() {
        const Memory::SlavePins& s = dram.pins();
        BUS(arready) = s.arready;
        BUS(awready) = s.awready;
        BUS(wready) = s.wready;
        BUS(rvalid) = s.rvalid;
        BUS(rlast) = s.rlast;
        BUS(rresp) = s.rresp;
        // Verilator keeps a port of any width as little-endian 8, 16, 32 or 64-bit words.
        static_assert(sizeof(BUS(rdata)) >= WORD_BYTES, "WORD_BYTES does not match the core");
        std::memcpy(&BUS(rdata), s.rdata, WORD_BYTES);
        BUS(bvalid) = s.bvalid;
        BUS(bresp) = s.bresp;
        top_->clk = 0;
        top_->eval();
        dump(0);
    }

    void rise() {
        sample(master_.ar, BUS(arvalid), BUS(araddr), BUS(arlen), BUS(arsize),
               BUS(arburst));
        sample(master_.aw, BUS(awvalid), BUS(awaddr), BUS(awlen), BUS(awsize),
               BUS(awburst));
        master_.w.valid = BUS(wvalid);
        if (master_.w.valid) {
            master_.w.last = BUS(wlast);
            master_.w.strb = BUS(wstrb);
            std::memcpy(master_.w.data, &BUS(wdata), WORD_BYTES);
        }
        master_.rready = BUS(rready);
        master_.bready = BUS(bready);
        if (top_->issue | top_->retire) record();
        top_->clk = 1;
        top_->eval();
        dump(1);
        dram.clock(master_);
        cycle_++;
    }

    static void sample(Memory::AddressPins& pins, bool valid, uint32_t addr, uint8_t len, uint8_t size, uint8_t burst) {
        pins.valid = valid;
        if (!valid) return;
        pins.addr = addr;
        pins.len = len;
        pins.size = size;
        pins.burst = burst;
    }

    void record() {
        for (unsigned unit = 0; unit < UNITS; unit++) {
            if (top_->issue >> unit & 1) events_[ISSUE][unit].push_back(cycle_);
            if (top_->retire >> unit & 1) events_[RETIRE][unit].push_back(cycle_);
        }
    }

    // The clock is low in the first half of a cycle. What is recorded already, of the run before, stays.
    void dump(unsigned half) {
#if VM_TRACE
        const uint64_t cycle = offset_ + cycle_, time = 10 * cycle + 5 * half;
        if (!waves_ || !recording_ || cycle < from_ || cycle >= to_ || time < next_) return;
#if VM_TRACE_VCD
        if (activity_ && half) return; // its values are those before the clock edge
#endif
        waves_->dump(time);
        next_ = time + 1;
#else
        (void)half;
#endif
    }
};

} // namespace

extern "C" {

// `waves` and `activity` may be null, and one of them is. Null when the memory cannot be had.
void* systolith_create(uint64_t dram_bytes, const char* waves, const ArrayShape* activity) {
    std::unique_ptr<Harness> h(new Harness(dram_bytes, waves, activity));
    return h->memory() ? h.release() : nullptr;
}
void systolith_destroy(void* h) { delete static_cast<Harness*>(h); }
uint8_t* systolith_memory(void* h) { return static_cast<Harness*>(h)->memory(); }
void systolith_reset(void* h) { static_cast<Harness*>(h)->reset(); }
int systolith_run(void* h, uint64_t limit) { return static_cast<Harness*>(h)->run(limit); }
int systolith_csr_write(void* h, uint32_t address, uint32_t data) {
    return static_cast<Harness*>(h)->csr_write(address, data);
}
int systolith_csr_read(void* h, uint32_t address, uint32_t* data) {
    return static_cast<Harness*>(h)->csr_read(address, data);
}
void systolith_dram(void* h, uint32_t latency, uint32_t bytes_per_cycle, const BankTiming* banks, uint32_t stall,
                    uint32_t seed) {
    static_cast<Harness*>(h)->dram.configure(latency, bytes_per_cycle, *banks, stall, seed);
}
void systolith_fault(void* h, int fault, uint64_t low, uint64_t high) {
    Memory::Faults& f = static_cast<Harness*>(h)->dram.faults;
    switch (fault) {
    case READ_ERROR: f.read_error = {low, high}; break;
    case WRITE_ERROR: f.write_error = {low, high}; break;
    case NO_READ_DATA: f.no_read_data = true; break;
    case NO_WRITE_RESPONSE: f.no_write_response = true; break;
    case NO_ACCEPT: f.no_accept = true; break;
    default: f = Memory::Faults();
    }
}
// Cycles at which `unit` issued (kind 0) or retired (kind 1) an instruction; valid until the next run.
uint64_t systolith_events(void* h, unsigned unit, unsigned kind, const uint64_t** cycles) {
    const std::vector<uint64_t>& v = static_cast<Harness*>(h)->events(unit, kind);
    *cycles = v.data();
    return v.size();
}
// Begin a run, as cycle `time` of the recording; returns the cycle of the simulation.
uint64_t systolith_begin(void* h, uint64_t time) {
    Harness* harness = static_cast<Harness*>(h);
    harness->begin(time);
    return harness->now();
}
void systolith_window(void* h, uint64_t from, uint64_t to) { static_cast<Harness*>(h)->window(from, to); }
const char* systolith_violation(void* h) { return static_cast<Harness*>(h)->dram.violation().c_str(); }

#if VM_TRACE_VCD
// Cycles of all runs that were counted.
uint64_t systolith_activity_cycles(void* h) { return static_cast<Harness*>(h)->activity()->cycles(); }
uint64_t systolith_activity_names(void* h) { return static_cast<Harness*>(h)->activity()->names().size(); }
// A name and the number of its net; several may have the same.
const char* systolith_activity_name(void* h, uint64_t index, uint32_t* net) {
    const Activity::Name& name = static_cast<Harness*>(h)->activity()->names()[index];
    *net = name.net;
    return name.name.c_str();
}
// The width of a net. Per bit, the most significant first: its toggles, and the cycles in which it is 1. Cycles in which
// any of its bits toggles.
uint32_t systolith_activity_net(void* h, uint32_t net, const uint64_t** toggles, const uint64_t** high,
                                uint64_t* changes) {
    const Activity::Net& n = static_cast<Harness*>(h)->activity()->net(net);
    *toggles = n.toggles.data();
    *high = n.high_until_now.data();
    *changes = n.changes;
    return n.width;
}
// The multiplications of the instruction in the last run by `MacEvent`, or null for none.
const uint64_t* systolith_activity_macs(void* h, uint32_t instruction) {
    return static_cast<Harness*>(h)->activity()->macs(instruction);
}
#endif
}
