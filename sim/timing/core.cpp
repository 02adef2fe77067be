// The control of one core, cycle by cycle, with the DRAM model of the `rtl` device but without data.
//
// A cycle counts only where something happens: the control is clocked when one of a few known times has come or a
// transfer has something for it, and the transfers when a wire between them changes (bus.hpp).
//
// Compiled with -DWORD_BYTES=<bytes per beat>.

#include <vector>

#include "bus.hpp"
#include "engines.hpp"
#include "instruction.hpp"
#include "issue.hpp"
#include "streams.hpp"

namespace {

// Mirrored by model.py.
struct Settings {
    uint32_t rows, banks, queue_depth, outstanding, fetch_bursts;
    uint32_t compute_latency, array_empty;
    uint32_t dram_latency, dram_bandwidth, watchdog;
    uint32_t step_all; // do every cycle by itself
    BankTiming dram_banks;
};

struct Result {
    uint64_t counters[COUNTERS];
    uint32_t outcome, unit, index; // an Outcome; of the instruction that it is about
};

enum Outcome : uint32_t { FINISHED, WATCHDOG, EMPTY };

class Core {
public:
    Core(const Settings& s, const uint8_t* code, uint32_t count, uint32_t address, uint64_t* issued, uint64_t* retired)
        : settings_(s), program_(decoded(code, count, s.banks)), issued_(issued), retired_(retired),
          bus_(program_.data(), count, address, s.outstanding, s.fetch_bursts, s.step_all), issue_(s.queue_depth),
          compute_(s.rows, s.compute_latency, s.array_empty) {
        bus_.begin(FIRST, s.dram_latency, s.dram_bandwidth, s.dram_banks);
    }

    void run(Result& result) {
        for (const Instruction& i : program_)
            if (i.empty()) {
                result.outcome = EMPTY;
                result.unit = i.unit;
                result.index = i.index;
                return;
            }
        observe(FIRST);
        while (!cycle()) {}
        if (bus_.fetching() || !issue_.idle()) {
            result.outcome = WATCHDOG;
            issue_.stuck(result.unit, result.index);
        }
        count_control(now_);
        counters_[COUNTER_LOAD_BUSY] = bus_.load_busy;
        counters_[COUNTER_STORE_BUSY] = bus_.store_busy;
        counters_[COUNTER_DRAM_READ] = bus_.read;
        counters_[COUNTER_DRAM_WRITE] = bus_.written;
        counters_[COUNTER_CYCLES] = now_ - FIRST;
        counters_[COUNTER_INSTRUCTIONS] = program_.size();
        std::copy(counters_, counters_ + COUNTERS, result.counters);
    }

private:
    // The first cycle in which the core runs; 0 is the one of the START command.
    static constexpr uint64_t FIRST = CSR_START_LATENCY + 1;

    const Settings& settings_;
    const std::vector<Instruction> program_;
    uint64_t *issued_, *retired_;
    std::vector<uint32_t> started_[UNITS]; // instructions of each unit, in order
    size_t ended_[UNITS] = {};
    uint64_t now_ = FIRST, progress_ = FIRST - 1;
    uint64_t counters_[COUNTERS] = {};
    Bus bus_;
    Issue issue_;
    Compute compute_;
    Vector vector_;
    uint64_t compute_wakes_ = 0, vector_wakes_ = 0;
    // What the control shows from cycle `since` on until it is clocked again, at the latest in cycle `until`.
    struct {
        uint64_t since = FIRST, until = FIRST;
        bool compute_busy = false, vector_busy = false, array_active = false, vector_active = false;
        unsigned waits = COUNTERS; // a counter, or COUNTERS for none
        bool active() const { return array_active || vector_active; } // each cycle of which is progress
    } held_;

    static std::vector<Instruction> decoded(const uint8_t* code, uint32_t count, unsigned banks) {
        std::vector<Instruction> program(count);
        for (uint32_t index = 0; index < count; index++)
            program[index] = Instruction(code + index * INSTR_BYTES, index, (1u << banks) - 1);
        return program;
    }

    // One cycle with an event, and those before the next. Returns whether it is the last.
    bool cycle() {
        const uint64_t now = now_;
        const Instruction* head = bus_.offered();
        const Instruction* delivered = head && issue_.ready(head->unit) ? head : nullptr;
        const Instruction* load = bus_.load_ready() ? issue_.granted(UNIT_LOAD) : nullptr;
        const Instruction* store = bus_.store_ready() ? issue_.granted(UNIT_STORE) : nullptr;
        progress_ = std::max(progress_, bus_.moved(now));
        if (held_.active() && now > held_.since) progress_ = now - 1;
        const bool watchdog = now > progress_ + settings_.watchdog;
        const bool last = now != FIRST && (watchdog || (!bus_.fetching() && issue_.idle()));
        if (held_.active()) progress_ = now;
        const bool meet = delivered || load || store; // something passes between control and transfers
        const bool controls = now >= held_.until || meet || bus_.pulses();
        if (controls) control(now, delivered, load, store);
        const bool once = meet || last || settings_.step_all;
        if (once) bus_.clock(now, load, store, delivered);
        if (controls) observe(now + 1);
        now_ = once ? now + 1 : bus_.run(held_.until, held_.active() ? NEVER : progress_ + settings_.watchdog + 1);
        return last;
    }

    // The edge that ends a cycle, for the queues and the units that compute; `load` and `store` are the instructions that
    // those units take.
    void control(uint64_t now, const Instruction* delivered, const Instruction* load, const Instruction* store) {
        const Instruction* start[UNITS];
        bool taken[UNITS], done[UNITS], release[UNITS];
        start[UNIT_LOAD] = load;
        start[UNIT_COMPUTE] = compute_.start_ready(now) ? issue_.granted(UNIT_COMPUTE) : nullptr;
        start[UNIT_VECTOR] = vector_.start_ready() ? issue_.granted(UNIT_VECTOR) : nullptr;
        start[UNIT_STORE] = store;
        done[UNIT_LOAD] = release[UNIT_LOAD] = bus_.load_done();
        done[UNIT_COMPUTE] = compute_.done(now);
        release[UNIT_COMPUTE] = compute_.release(now);
        done[UNIT_VECTOR] = release[UNIT_VECTOR] = vector_.done(now);
        done[UNIT_STORE] = bus_.store_done();
        release[UNIT_STORE] = bus_.store_release();
        bool issues = delivered || issue_.moves() || settings_.step_all;
        for (unsigned u = 0; u < UNITS; u++) {
            taken[u] = start[u];
            issues |= taken[u] || done[u] || release[u];
            if (taken[u]) {
                issued_[start[u]->index] = now;
                started_[u].push_back(start[u]->index);
            }
            if (done[u]) retired_[started_[u][ended_[u]++]] = now;
            if (taken[u] || done[u]) progress_ = now;
        }
        if (start[UNIT_COMPUTE] || now >= compute_wakes_) compute_wakes_ = clocked(compute_, now, start[UNIT_COMPUTE]);
        if (start[UNIT_VECTOR] || now >= vector_wakes_) vector_wakes_ = clocked(vector_, now, start[UNIT_VECTOR]);
        if (issues) issue_.clock(delivered, taken, done, release);
    }

    // Clock `unit` and return when it must be clocked again.
    template <class T>
    uint64_t clocked(T& unit, uint64_t now, const Instruction* start) const {
        unit.clock(now, start);
        Alarm alarm{now};
        if (settings_.step_all) alarm.from(0);
        unit.wake(alarm);
        return alarm.next;
    }

    // Look at what the control shows from cycle `now` on.
    void observe(uint64_t now) {
        count_control(now);
        held_.since = now;
        held_.compute_busy = compute_.busy(now);
        held_.vector_busy = vector_.busy();
        held_.array_active = compute_.active(now);
        held_.vector_active = vector_.active();
        held_.waits = COUNTERS;
        if (!held_.array_active) {
            held_.waits = compute_.starved(now) ? COUNTER_WAIT_WEIGHTS : issue_.blocked();
            if (held_.waits == COUNTERS && issue_.compute_empty() && bus_.fetching()) held_.waits = COUNTER_WAIT_FETCH;
        }
        const bool starts = (issue_.granted(UNIT_LOAD) && bus_.load_ready())
            || (issue_.granted(UNIT_COMPUTE) && compute_.start_ready(now))
            || (issue_.granted(UNIT_VECTOR) && vector_.start_ready())
            || (issue_.granted(UNIT_STORE) && bus_.store_ready());
        const Instruction* head = bus_.offered();
        const bool ends = issue_.idle() && !bus_.fetching();
        const bool again = starts || ends || issue_.moves() || (head && issue_.ready(head->unit));
        held_.until = again ? now : std::min(compute_wakes_, vector_wakes_);
    }

    void count_control(uint64_t now) {
        const uint64_t cycles = now - held_.since;
        if (held_.compute_busy) counters_[COUNTER_COMPUTE_BUSY] += cycles;
        if (held_.vector_busy) counters_[COUNTER_VECTOR_BUSY] += cycles;
        if (held_.array_active) counters_[COUNTER_ARRAY_ACTIVE] += cycles;
        if (held_.waits != COUNTERS) counters_[held_.waits] += cycles;
    }
};

} // namespace

extern "C" {

// Run `count` instructions that lie at DRAM byte `address`; `issued` and `retired` receive a cycle each, counted from the START command.
void systolith_timing(const Settings* settings, const uint8_t* code, uint32_t count, uint32_t address,
                      uint64_t* issued, uint64_t* retired, Result* result) {
    *result = Result();
    Core(*settings, code, count, address, issued, retired).run(*result);
}
}
