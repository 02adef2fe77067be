// The control of one core, cycle by cycle, with the DRAM model of the `rtl` device but without data.
//
// A cycle in which no register changes is followed by equal ones until one of the times that the units wait for. So the
// control runs only when such a time has come or the transfers have something for it, the transfers only while there
// are any, and when neither runs, all cycles until the next such time are counted at once.
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
        : settings_(s), issued_(issued), retired_(retired), fetch_(WORD_BYTES, count, address),
          load_(WORD_BYTES, s.outstanding), store_(WORD_BYTES, s.outstanding),
          arbiter_(s.outstanding + s.fetch_bursts), issue_(s.queue_depth),
          compute_(s.rows, s.compute_latency, s.array_empty), dram_(nullptr, 0) {
        for (uint32_t index = 0; index < count; index++) program_.push_back(decode(code + index * INSTR_BYTES, index));
        master_.ar.burst = master_.aw.burst = 1;
        while (1u << master_.ar.size < WORD_BYTES) master_.aw.size = ++master_.ar.size;
        // Without memory all addresses answer DECERR; the time is the same.
        dram_.configure(s.dram_latency, s.dram_bandwidth, s.dram_banks, 0, 0);
        dram_.skip(FIRST);
    }

    void run(Result& result) {
        for (const Instruction& i : program_)
            if (i.empty()) {
                result.outcome = EMPTY;
                result.unit = i.unit;
                result.index = i.index;
                return;
            }
        while (!cycle()) {}
        if (!finished_) {
            result.outcome = WATCHDOG;
            issue_.stuck(result.unit, result.index);
        }
        count_control(now_);
        counters_[COUNTER_CYCLES] = now_ - FIRST;
        counters_[COUNTER_INSTRUCTIONS] = program_.size();
        std::copy(counters_, counters_ + COUNTERS, result.counters);
    }

private:
    // The first cycle in which the core runs; 0 is the one of the START command.
    static constexpr uint64_t FIRST = CSR_START_LATENCY + 1;

    const Settings& settings_;
    std::vector<Instruction> program_;
    uint64_t *issued_, *retired_;
    std::vector<uint32_t> started_[UNITS]; // instructions of each unit, in order
    size_t ended_[UNITS] = {};
    uint64_t now_ = FIRST, progress_ = FIRST - 1;
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
    unsigned in_flight_ = 0; // DRAM bursts
    bool finished_ = false;
    // What `control` found, which holds from `since` until it runs again, at the latest in cycle `until`.
    struct {
        uint64_t since = FIRST, until = FIRST;
        bool compute_busy = false, vector_busy = false, array_active = false, vector_active = false;
        unsigned waits = COUNTERS; // a counter, or COUNTERS for none
    } held_;

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
    bool cycle() {
        const uint64_t now = now_;
        const Instruction* head = fetch_.out.valid() ? &program_[fetch_.out.front()] : nullptr;
        const Instruction* delivered = head && issue_.ready(head->unit) ? head : nullptr;
        const Instruction* load = load_.start_ready() ? issue_.granted(UNIT_LOAD) : nullptr;
        const Instruction* store = store_.start_ready() ? issue_.granted(UNIT_STORE) : nullptr;
        const bool watchdog = now > FIRST && now > progress_ + settings_.watchdog;
        if (now >= held_.until || delivered || load || store || load_.done || store_.done || store_.release())
            control(now, delivered, load, store);
        if (held_.array_active || held_.vector_active) progress_ = now;
        const bool still = transfers(now, delivered, load, store);
        uint64_t next = now + 1;
        if (still && !finished_ && !watchdog) next = std::min(held_.until, progress_ + settings_.watchdog + 1);
        if (still) dram_.skip(next - now);
        if (held_.array_active || held_.vector_active) progress_ = next - 1;
        now_ = next;
        return finished_ || watchdog;
    }

    // The queues and the units that compute; `load` and `store` are the instructions that those units take.
    void control(uint64_t now, const Instruction* delivered, const Instruction* load, const Instruction* store) {
        count_control(now);
        const Instruction* start[UNITS];
        bool taken[UNITS], done[UNITS], release[UNITS];
        start[UNIT_LOAD] = load;
        start[UNIT_COMPUTE] = compute_.start_ready(now) ? issue_.granted(UNIT_COMPUTE) : nullptr;
        start[UNIT_VECTOR] = vector_.start_ready() ? issue_.granted(UNIT_VECTOR) : nullptr;
        start[UNIT_STORE] = store;
        done[UNIT_LOAD] = release[UNIT_LOAD] = load_.done;
        done[UNIT_COMPUTE] = compute_.done(now);
        release[UNIT_COMPUTE] = compute_.release(now);
        done[UNIT_VECTOR] = release[UNIT_VECTOR] = vector_.done(now);
        done[UNIT_STORE] = store_.done;
        release[UNIT_STORE] = store_.release();
        for (unsigned u = 0; u < UNITS; u++) {
            taken[u] = start[u];
            if (taken[u]) {
                issued_[start[u]->index] = now;
                started_[u].push_back(start[u]->index);
            }
            if (done[u]) retired_[started_[u][ended_[u]++]] = now;
            if (taken[u] || done[u]) progress_ = now;
        }
        finished_ = now != FIRST && !fetch_.busy() && issue_.idle();

        held_.since = now;
        held_.compute_busy = compute_.busy(now);
        held_.vector_busy = vector_.busy();
        held_.array_active = compute_.active(now);
        held_.vector_active = vector_.active();
        held_.waits = COUNTERS;
        if (!held_.array_active) {
            held_.waits = compute_.starved(now) ? COUNTER_WAIT_WEIGHTS : issue_.blocked();
            if (held_.waits == COUNTERS && issue_.compute_empty() && fetch_.busy()) held_.waits = COUNTER_WAIT_FETCH;
        }

        bool changed = now == FIRST || settings_.step_all;
        changed |= compute_.clock(now, start[UNIT_COMPUTE]);
        changed |= vector_.clock(now, start[UNIT_VECTOR]);
        changed |= issue_.clock(delivered, taken, done, release);
        Alarm alarm{now};
        if (changed) {
            alarm.at(now + 1);
        } else {
            compute_.wake(alarm);
            vector_.wake(alarm);
        }
        held_.until = alarm.next;
    }

    void count_control(uint64_t now) {
        const uint64_t cycles = now - held_.since;
        if (held_.compute_busy) counters_[COUNTER_COMPUTE_BUSY] += cycles;
        if (held_.vector_busy) counters_[COUNTER_VECTOR_BUSY] += cycles;
        if (held_.array_active) counters_[COUNTER_ARRAY_ACTIVE] += cycles;
        if (held_.waits != COUNTERS) counters_[held_.waits] += cycles;
    }

    // Everything up to DRAM. Returns whether it will do nothing until `control` has something for it.
    bool transfers(uint64_t now, bool delivered, const Instruction* load, const Instruction* store) {
        const bool untouched = fetch_.still() && load_.still() && store_.still() && arbiter_.address.empty()
            && !delivered && !load && !store;
        if (untouched && !in_flight_ && !settings_.step_all) return true;

        const Memory::SlavePins& pins = dram_.pins();
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
        const bool offered = pins.rvalid, read = offered && master_.rready;
        const bool written = master_.w.valid && pins.wready;
        const bool response = pins.bvalid, read_last = read && pins.rlast;
        counters_[COUNTER_LOAD_BUSY] += load_.busy();
        counters_[COUNTER_STORE_BUSY] += store_.busy();
        counters_[COUNTER_DRAM_READ] += read;
        counters_[COUNTER_DRAM_WRITE] += written;
        if (read || written) progress_ = now;

        in_flight_ += unsigned(ar) + unsigned(aw) - unsigned(read_last) - unsigned(response && master_.bready);
        dram_.clock(master_);
        fetch_.clock(fetch_asks && room && !to_load, offered && for_fetch, delivered);
        load_.clock(load, room && to_load, offered && for_load);
        store_.clock(store, aw, written, response);
        arbiter_.clock(chosen ? &asked : nullptr, to_load, ar, read_last);
        return false;
    }

    static void present(Memory::AddressPins& pins, const Slice<Address>& slice) {
        pins.valid = slice.valid();
        if (!pins.valid) return;
        pins.addr = slice.front().addr;
        pins.len = slice.front().len;
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
