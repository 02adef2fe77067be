// The control of one core, cycle by cycle, with the DRAM model of the `rtl` device but without data.
//
// A cycle in which no register changes is followed by equal ones until one of the times that the units wait for; they
// are counted at once.
//
// Compiled with -DWORD_BYTES=<bytes per beat>.

#include "../rtl/dram.hpp"
#include "engines.hpp"
#include "instruction.hpp"
#include "issue.hpp"
#include "streams.hpp"
#include "transfers.hpp"

namespace {

using Memory = Dram<WORD_BYTES>;

// Mirrored by model.py.
struct Settings {
    uint32_t rows, banks, queue_depth, outstanding, fetch_bursts;
    uint32_t compute_latency, array_empty;
    uint32_t dram_latency, dram_bandwidth, watchdog;
    uint32_t step_all; // do every cycle by itself
};

struct Result {
    uint64_t counters[COUNTERS];
    uint32_t outcome, unit, index; // an Outcome; of the instruction that it is about
};

enum Outcome : uint32_t { FINISHED, WATCHDOG, EMPTY };

class Core {
public:
    Core(const Settings& s, const uint8_t* code, uint32_t count, uint64_t* issued, uint64_t* retired)
        : settings_(s), issued_(issued), retired_(retired), fetch_(WORD_BYTES, count),
          load_(WORD_BYTES, s.outstanding), store_(WORD_BYTES, s.outstanding),
          arbiter_(s.outstanding + s.fetch_bursts), issue_(s.queue_depth),
          compute_(s.rows, s.compute_latency, s.array_empty), dram_(nullptr, 0) {
        for (uint32_t index = 0; index < count; index++) program_.push_back(decode(code + index * INSTR_BYTES, index));
        // Without memory all addresses answer DECERR; the time is the same.
        master_.ar.burst = master_.aw.burst = 1;
        while (1u << master_.ar.size < WORD_BYTES) master_.aw.size = ++master_.ar.size;
        dram_.configure(s.dram_latency, s.dram_bandwidth, 0, 0);
        dram_.reset();
    }

    void run(Result& result) {
        for (const Instruction& i : program_)
            if (i.empty()) {
                result.outcome = EMPTY;
                result.unit = i.unit;
                result.index = i.index;
                return;
            }
        while (!cycle(result)) {}
        std::copy(counters_, counters_ + COUNTERS, result.counters);
    }

private:
    const Settings& settings_;
    std::vector<Instruction> program_;
    uint64_t *issued_, *retired_;
    std::vector<uint32_t> started_[UNITS]; // instructions of each unit, in order
    size_t finished_[UNITS] = {};
    uint64_t now_ = CSR_START_LATENCY + 1; // in which the core first runs; 0 is the one of the START command
    uint64_t progress_ = CSR_START_LATENCY;
    uint64_t counters_[COUNTERS] = {};
    Fetch fetch_;
    Load load_;
    Store store_;
    Arbiter arbiter_;
    Issue issue_;
    Compute compute_;
    Vector vector_;
    Memory dram_;
    Memory::MasterPins master_;
    unsigned in_flight_ = 0, idle_ = 0; // DRAM bursts; cycles since the last

    Instruction decode(const uint8_t* bytes, uint32_t index) const {
        Instruction i = {};
        i.bytes = bytes;
        i.index = index;
        i.opcode = i[HEADER_OPCODE];
        i.unit = UNIT_OF[i.opcode];
        const unsigned banks = (1u << settings_.banks) - 1;
        i.read_banks = i[HEADER_RD_BANKS] & banks;
        i.write_banks = i[HEADER_WR_BANKS] & banks;
        i.waits[UNIT_LOAD] = i[HEADER_WAIT_LOAD];
        i.waits[UNIT_COMPUTE] = i[HEADER_WAIT_COMPUTE];
        i.waits[UNIT_VECTOR] = i[HEADER_WAIT_VECTOR];
        i.waits[UNIT_STORE] = i[HEADER_WAIT_STORE];
        return i;
    }

    // One cycle, or several equal ones. Returns whether it is the last.
    bool cycle(Result& result) {
        const uint64_t now = now_;

        // Instructions.
        const Instruction* head = fetch_.out.valid() ? &program_[fetch_.out.front()] : nullptr;
        const bool delivered = head && issue_.ready(head->unit);
        bool accepts[UNITS], taken[UNITS], done[UNITS], release[UNITS];
        accepts[UNIT_LOAD] = load_.start_ready();
        accepts[UNIT_COMPUTE] = compute_.start_ready(now);
        accepts[UNIT_VECTOR] = vector_.start_ready();
        accepts[UNIT_STORE] = store_.start_ready();
        done[UNIT_LOAD] = release[UNIT_LOAD] = load_.done;
        done[UNIT_COMPUTE] = compute_.done(now);
        release[UNIT_COMPUTE] = compute_.release(now);
        done[UNIT_VECTOR] = release[UNIT_VECTOR] = vector_.done(now);
        done[UNIT_STORE] = store_.done;
        release[UNIT_STORE] = store_.release();
        const Instruction* start[UNITS];
        for (unsigned u = 0; u < UNITS; u++) {
            start[u] = accepts[u] ? issue_.granted(u) : nullptr;
            taken[u] = start[u];
            if (taken[u]) {
                issued_[start[u]->index] = now;
                started_[u].push_back(start[u]->index);
            }
            if (done[u]) retired_[started_[u][finished_[u]++]] = now;
        }

        // The bus.
        const Memory::SlavePins pins = dram_.pins();
        const bool room = arbiter_.room();
        const bool fetch_asks = fetch_.address.valid(), load_asks = load_.address.valid();
        const bool to_load = arbiter_.to_load(fetch_asks, load_asks);
        const Address* chosen = to_load ? &load_.address.front() : fetch_asks ? &fetch_.address.front() : nullptr;
        const Address asked = chosen ? *chosen : Address{};
        const bool for_load = arbiter_.owned() && arbiter_.owner_is_load();
        const bool for_fetch = arbiter_.owned() && !for_load;
        master_.rready = for_fetch || (for_load && load_.data_ready());
        master_.bready = store_.response_ready();
        master_.w.valid = store_.words.valid();
        master_.w.last = master_.w.valid && store_.words.front();
        present(master_.ar, arbiter_.address);
        present(master_.aw, store_.address);
        const bool ar = master_.ar.valid && pins.arready, aw = master_.aw.valid && pins.awready;
        const bool read = pins.rvalid && master_.rready, written = master_.w.valid && pins.wready;
        const bool answered = pins.bvalid && master_.bready, read_last = read && pins.rlast;

        const bool finished = now != CSR_START_LATENCY + 1 && !fetch_.busy() && issue_.idle();
        const bool active = compute_.active(now);
        bool counted[COUNTERS] = {};
        counted[COUNTER_CYCLES] = true;
        counted[COUNTER_LOAD_BUSY] = load_.busy();
        counted[COUNTER_COMPUTE_BUSY] = compute_.busy(now);
        counted[COUNTER_VECTOR_BUSY] = vector_.busy();
        counted[COUNTER_STORE_BUSY] = store_.busy();
        counted[COUNTER_ARRAY_ACTIVE] = active;
        counted[COUNTER_DRAM_READ] = read;
        counted[COUNTER_DRAM_WRITE] = written;
        counted[COUNTER_INSTRUCTIONS] = delivered;
        if (!active) {
            const unsigned blocked = issue_.blocked();
            if (compute_.starved(now)) counted[COUNTER_WAIT_WEIGHTS] = true;
            else if (blocked != COUNTERS) counted[blocked] = true;
            else if (issue_.compute_empty() && fetch_.busy()) counted[COUNTER_WAIT_FETCH] = true;
        }
        const bool watchdog = now > CSR_START_LATENCY + 1 && now > progress_ + settings_.watchdog;
        if (taken[0] | taken[1] | taken[2] | taken[3] | done[0] | done[1] | done[2] | done[3] | active
            | vector_.active() | read | written)
            progress_ = now;

        // The edge.
        bool changed = delivered | read | written;
        if (ar) in_flight_++;
        if (aw) in_flight_++;
        in_flight_ -= unsigned(read_last) + unsigned(answered);
        if (in_flight_ || master_.ar.valid || master_.aw.valid || master_.w.valid) idle_ = 0;
        if (idle_ <= SETTLE) {
            idle_++;
            dram_.clock(master_);
            changed = true;
        }
        changed |= !(fetch_.still() && load_.still() && store_.still() && arbiter_.address.empty());
        fetch_.clock(fetch_asks && room && !to_load, pins.rvalid && for_fetch, delivered);
        load_.clock(start[UNIT_LOAD], room && to_load, pins.rvalid && for_load);
        store_.clock(start[UNIT_STORE], aw, written, pins.bvalid);
        arbiter_.clock(chosen ? &asked : nullptr, to_load, ar, read_last);
        changed |= compute_.clock(now, start[UNIT_COMPUTE]);
        changed |= vector_.clock(now, start[UNIT_VECTOR]);
        changed |= issue_.clock(delivered ? head : nullptr, taken, done, release);

        uint64_t next = now + 1;
        if (!changed && !finished && !watchdog && !settings_.step_all) {
            Alarm alarm{now};
            compute_.wake(alarm);
            vector_.wake(alarm);
            alarm.at(progress_ + settings_.watchdog + 1);
            next = alarm.next;
        }
        for (unsigned counter = 0; counter < COUNTERS; counter++)
            if (counted[counter]) counters_[counter] += next - now;
        now_ = next;
        if (watchdog) {
            result.outcome = WATCHDOG;
            issue_.stuck(result.unit, result.index);
        }
        return finished || watchdog;
    }

    // Cycles after which an unused DRAM is as if it had never been used: its bus is free.
    static constexpr unsigned SETTLE = WORD_BYTES + 1;

    static void present(Memory::AddressPins& pins, const Slice<Address>& slice) {
        pins.valid = slice.valid();
        if (!pins.valid) return;
        pins.addr = slice.front().addr;
        pins.len = slice.front().len;
    }
};

} // namespace

extern "C" {

// Run `count` instructions; `issued` and `retired` receive a cycle each, counted from the START command.
void systolith_timing(const Settings* settings, const uint8_t* code, uint32_t count, uint64_t* issued,
                      uint64_t* retired, Result* result) {
    *result = Result();
    Core(*settings, code, count, issued, retired).run(*result);
}
}
