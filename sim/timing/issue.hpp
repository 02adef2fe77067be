// hw/issue.py: instruction queues, dependency tokens and locks of activation banks.
#pragma once

#include "instruction.hpp"
#include "streams.hpp"

// `LockTable`.
class Locks {
public:
    bool full() const { return count_ == MAX_IN_FLIGHT; }
    unsigned read() const { return read_; }
    unsigned write() const { return write_; }
    void clock(const Instruction* acquire, bool release) {
        if (release) {
            for (unsigned i = 1; i < count_; i++) held_[i - 1] = held_[i];
            count_--;
        }
        if (acquire) held_[count_++] = acquire;
        read_ = write_ = 0;
        for (unsigned i = 0; i < count_; i++) {
            read_ |= held_[i]->read_banks;
            write_ |= held_[i]->write_banks;
        }
    }

private:
    const Instruction* held_[MAX_IN_FLIGHT] = {};
    unsigned count_ = 0, read_ = 0, write_ = 0;
};

class Issue {
public:
    explicit Issue(unsigned queue_depth) {
        for (auto& queue : queues_) queue = Queue(queue_depth);
    }

    bool ready(unsigned unit) const { return queues_[unit].ready(); }
    // The instruction that `unit` may start, or null.
    const Instruction* granted(unsigned unit) const { return granted_[unit] ? queues_[unit].front() : nullptr; }
    bool idle() const { return !unretired_; }
    bool compute_empty() const { return !queues_[UNIT_COMPUTE].valid(); }
    // Whether a register changes in the next cycle without anything from outside.
    bool moves() const { return stale_ || grant_ != UNITS; }
    // Why the head of the compute queue is not granted, as a counter, or `COUNTERS`.
    unsigned blocked() const {
        if (!queues_[UNIT_COMPUTE].valid() || !fresh_[UNIT_COMPUTE] || granted_[UNIT_COMPUTE]) return COUNTERS;
        const unsigned tokens = tokens_[UNIT_COMPUTE];
        if (!(tokens >> UNIT_LOAD & 1)) return COUNTER_WAIT_LOAD;
        if (!(tokens >> UNIT_VECTOR & 1)) return COUNTER_WAIT_VECTOR;
        if (!(tokens >> UNIT_STORE & 1)) return COUNTER_WAIT_STORE;
        return tokens == ALL && !may_go(UNIT_COMPUTE) ? COUNTER_WAIT_BANK : COUNTERS;
    }

    // `added`: the instruction that enters its queue, or null; per unit, whether its head is taken, whether it retires
    // an instruction, and whether it gives banks back.
    void clock(const Instruction* added, const bool* taken, const bool* done, const bool* release) {
        unsigned stale = 0;
        for (unsigned u = 0; u < UNITS; u++) {
            if (stale_ >> u & 1) look(u);
            if (u == grant_ || release[u]) locks_[u].clock(u == grant_ ? queues_[u].front() : nullptr, release[u]);
            if (u == grant_) granted_[u] = true;
            if (taken[u]) {
                granted_[u] = fresh_[u] = false;
                stale |= 1u << u;
                started_[u]++;
                last_index_[u] = queues_[u].front()->index;
                queues_[u].pop();
            }
        }
        for (unsigned u = 0; u < UNITS; u++) {
            retired_[u] += done[u];
            unretired_ -= done[u];
            if (done[u]) stale = ALL;
        }
        if (added) {
            if (!queues_[added->unit].valid()) stale |= 1u << added->unit;
            queues_[added->unit].push(added);
            awaited_++;
            unretired_++;
        }
        stale_ = stale;
        grant_ = UNITS;
        for (unsigned u : PRIORITY)
            if (grant_ == UNITS && may_go(u)) grant_ = u;
    }

    // Whom to blame when nothing moves.
    void stuck(uint32_t& unit, uint32_t& index) const {
        for (unsigned u = 0; u < UNITS; u++)
            if (retired_[u] != started_[u]) {
                unit = u, index = last_index_[u];
                return;
            }
        unit = 0, index = awaited_;
        bool found = false;
        for (unsigned u = 0; u < UNITS; u++)
            if (queues_[u].valid() && (!found || queues_[u].front()->index < index)) {
                found = true;
                unit = u, index = queues_[u].front()->index;
            }
    }

private:
    static constexpr unsigned ALL = (1u << UNITS) - 1;

    using Queue = Fifo<const Instruction*>;

    Queue queues_[UNITS];
    Locks locks_[UNITS];
    uint32_t retired_[UNITS] = {}, started_[UNITS] = {}, last_index_[UNITS] = {}, awaited_ = 0, unretired_ = 0;
    // Tokens are a cycle old, so they belong to the head only when it is not `fresh`ly arrived.
    unsigned tokens_[UNITS] = {};
    bool fresh_[UNITS] = {}, granted_[UNITS] = {};
    // What the registers above do not hold yet: units whose head or tokens changed with the last edge, and who is granted
    // in this cycle.
    unsigned stale_ = 0, grant_ = UNITS;

    // Compare the tokens of a head with what is retired.
    void look(unsigned u) {
        fresh_[u] = queues_[u].valid();
        tokens_[u] = 0;
        if (!fresh_[u]) return;
        for (unsigned v = 0; v < UNITS; v++) tokens_[u] |= unsigned(retired_[v] >= queues_[u].front()->waits[v]) << v;
    }

    bool may_go(unsigned u) const {
        if (!queues_[u].valid() || !fresh_[u] || tokens_[u] != ALL || granted_[u] || locks_[u].full()) return false;
        unsigned read = 0, write = 0;
        for (unsigned v = 0; v < UNITS; v++)
            if (v != u) {
                read |= locks_[v].read();
                write |= locks_[v].write();
            }
        const Instruction& head = *queues_[u].front();
        return !(head.read_banks & read) && !(head.write_banks & write);
    }
};
