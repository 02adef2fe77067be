// The compute and vector units. Their walks over pixels take a known time, so each is kept as the cycle of its end and
// not stepped; what the units do in between is the control of hw/compute.py and hw/vector.py.
//
// `clock` is the edge that ends a cycle. It is needed in those with a start and in the ones that `wake` names after the
// clock before; in between, nothing that a unit shows changes.
#pragma once

#include "instruction.hpp"
#include "streams.hpp"

class Compute {
public:
    // `latency`: compute_latency, `empty`: array_empty of the configuration.
    Compute(unsigned rows, unsigned latency, unsigned empty)
        : period_(std::max(rows, MIN_PASS)), latency_(latency), empty_(empty) {}

    bool start_ready(uint64_t now) const { return !working(now); }
    bool release(uint64_t now) const { return releases_.at(now); }
    bool done(uint64_t now) const { return dones_.at(now); }
    // A pixel word is on its way to the array.
    bool active(uint64_t now) const { return now >= begun_ + PASS_LATENCY && now < walked_ + PASS_LATENCY; }
    bool busy(uint64_t now) const { return working(now) || (now > begun_ && now < walked_ + PASS_LATENCY); }
    // The streamer is done with its pass, but the tile of the next one, or the last one, still loads.
    bool starved(uint64_t now) const { return now >= walked_ && now < loaded(); }

    void clock(uint64_t now, const Instruction* start) {
        if (releases_.at(now)) releases_.pop();
        if (dones_.at(now)) dones_.pop();
        // A pass that follows without a gap changes nothing that shows, so it begins already now.
        if (passes_ && now >= takes())
            do begin_pass(takes());
            while (passes_ && takes() == walked_);
        if (start) accept(*start, now);
    }

    void wake(Alarm& alarm) const {
        if (passes_) alarm.from(takes());
        if (walked_ < loaded()) alarm.before(walked_);
        for (uint64_t time : {loaded(), begun_ + PASS_LATENCY, walked_ + PASS_LATENCY}) alarm.before(time);
        releases_.wake(alarm);
        dones_.wake(alarm);
    }

private:
    struct Mode {
        bool fir = false;
        unsigned spacing = 0, walk_w = 0;
    };

    const unsigned period_, latency_, empty_;
    // Loader. A tile goes through the rows in `period_` cycles, from the cycle before `takeable_` on.
    uint64_t passes_ = 0;              // of the instruction that have not begun
    uint64_t takeable_ = 0;            // from when on the next pass may begin
    uint64_t free_ = 0;                // from when on the next instruction may be taken, once no pass is left
    bool moved_ = false;               // the next pass adds to sums that the one before may still write
    // Of the instruction that is loaded.
    Mode next_mode_;
    unsigned next_acc_ = 0;
    uint64_t pixels_ = 0; // of a pass
    // Streamer.
    Mode mode_;
    unsigned acc_ = 0;
    uint64_t begun_ = 0, walked_ = 0; // the pass before the first word of a gapless stream was taken; its last word
    uint64_t settled_ = 0, drained_ = 0, emptied_ = 0;
    Pulses releases_, dones_;

    bool working(uint64_t now) const { return passes_ || now < free_; }
    uint64_t loaded() const { return passes_ ? takeable_ : free_; }

    // The first cycle in which the streamer may take the next pass.
    uint64_t takes() const {
        const bool same_mode = mode_.fir == next_mode_.fir && (!mode_.fir || (
            mode_.spacing == next_mode_.spacing && mode_.walk_w == next_mode_.walk_w));
        return std::max({takeable_, walked_, settled_, moved_ ? drained_ : 0, same_mode ? 0 : emptied_});
    }

    void accept(const Instruction& i, uint64_t now) {
        next_mode_ = {i[COMPUTE_FIR] != 0, i[COMPUTE_SPACING], i[COMPUTE_WALK_W]};
        next_acc_ = i[COMPUTE_ACC];
        moved_ = i[COMPUTE_ACCUMULATE] && (next_mode_.fir || next_acc_ != acc_);
        passes_ = uint64_t(i[COMPUTE_KW]) * i[COMPUTE_KH] * i[COMPUTE_BLOCKS] * i[COMPUTE_GROUPS];
        pixels_ = next_mode_.fir ? i[COMPUTE_LEAD] + uint64_t(i[COMPUTE_WALK_W]) * i[COMPUTE_WALK_H]
                                 : uint64_t(i[COMPUTE_OUT_W]) * i[COMPUTE_OUT_H];
        takeable_ = now + COMPUTE_START_LATENCY;
    }

    void begin_pass(uint64_t now) {
        if (now > walked_) begun_ = now;
        walked_ = now + pixels_;
        mode_ = next_mode_;
        acc_ = next_acc_;
        moved_ = false;
        settled_ = now + MIN_PASS;
        drained_ = walked_ + MIN_PASS - 1;
        emptied_ = walked_ + PASS_LATENCY + empty_;
        const uint64_t next_tile = std::max(takeable_ - 1 + period_, now + 1);
        if (--passes_) {
            takeable_ = next_tile + 1;
        } else {
            free_ = next_tile;
            releases_.push(walked_ + PASS_LATENCY - 1);
            dones_.push(walked_ + latency_ - 1);
        }
    }
};

class Vector {
public:
    bool start_ready() const { return !after_ && !groups_to_read_; }
    bool done(uint64_t now) const { return dones_.at(now); }
    bool busy() const { return after_ || busy_ || unfinished_; }
    // Words are on their way, or a table's entries.
    bool active() const { return busy_ && (!is_requant() || in_group_ || params_ready_); }

    void clock(uint64_t now, const Instruction* start) {
        const bool reloading = busy_ && now < reloaded_;
        const bool reads = groups_to_read_ && !params_ready_ && !params_held_ && !reloading;
        const bool reads_acc = busy_ && is_requant() && (in_group_ || params_ready_);
        const bool group_begin = reads_acc && !in_group_;
        if (group_begin) all_read_ = now + words_ - 1;
        const bool group_end = reads_acc && now == all_read_;
        const bool all_read = is_requant() ? group_end && groups_left_ == 1 : busy_ && now == all_read_;
        const bool next_is_requant = after_ && after_->opcode == OPCODE_REQUANT;
        const bool begin = after_ && (!busy_ || all_read)
            && (unfinished_ == 0 || (next_is_requant && is_requant() && params_ready_));
        const bool done = dones_.at(now);
        changed_ = start || begin || done || all_read || group_begin || group_end || params_held_;

        params_held_ = group_begin;
        if (reads && !reading_) {
            reading_ = changed_ = true;
            params_read_ = now + PARAM_WORDS - 1;
        }
        if (reads && now == params_read_) {
            params_ready_ = changed_ = true;
            reading_ = false;
            groups_to_read_--;
        } else if (group_begin) {
            params_ready_ = false;
        }
        if (reads_acc) in_group_ = !group_end;
        if (group_end) groups_left_--;
        if (done) dones_.pop();
        if (all_read) {
            busy_ = false;
            dones_.push(now + latency());
        }
        if (begin) begin_next(now);
        unfinished_ += int(begin) - int(done);
        if (start) {
            after_ = start;
            if (start->opcode == OPCODE_REQUANT) groups_to_read_ = (*start)[REQUANT_GROUPS];
        }
    }

    void wake(Alarm& alarm) const {
        if (changed_) alarm.from(0);
        for (uint64_t time : {params_read_, all_read_, reloaded_}) alarm.at(time);
        dones_.wake(alarm);
    }

private:
    const Instruction *after_ = nullptr, *current_ = nullptr; // waits; is worked on, or was last
    bool busy_ = false;
    unsigned unfinished_ = 0;
    uint64_t words_ = 0;    // of the current instruction, of one group
    uint64_t all_read_ = 0; // last word of the current instruction, of a REQUANT: of the group
    uint64_t reloaded_ = 0; // the table is there
    // Parameters of REQUANT.
    unsigned groups_to_read_ = 0, groups_left_ = 0;
    bool params_ready_ = false, params_held_ = false, reading_ = false, in_group_ = false;
    uint64_t params_read_ = 0;
    Pulses dones_;
    bool changed_ = false; // a register did with the last edge that the next cycle depends on

    bool is_requant() const { return current_ && current_->opcode == OPCODE_REQUANT; }

    // From the last read of an operand to `done`.
    unsigned latency() const {
        const unsigned operand = ACT_READ_LATENCY + CENTRE_LATENCY + ISSUE_TO_WRITE;
        switch (current_->opcode) {
        case OPCODE_REQUANT: return ACC_READ_LATENCY + ISSUE_TO_WRITE;
        case OPCODE_ADD: return operand;
        case OPCODE_MUL: return operand + PRODUCT_LATENCY;
        case OPCODE_POOL: return PASS_LATENCY + taps() - 1 + ACT_READ_LATENCY + 1 + ISSUE_TO_WRITE;
        default: return ACT_READ_LATENCY + TABLE_READ_LATENCY + ISSUE_TO_WRITE;
        }
    }

    uint64_t taps() const { return uint64_t((*current_)[POOL_KW]) * (*current_)[POOL_KH]; }

    void begin_next(uint64_t now) {
        const Instruction& i = *(current_ = after_);
        after_ = nullptr;
        busy_ = true;
        in_group_ = false;
        words_ = uint64_t(i[REQUANT_OUT_W]) * i[REQUANT_OUT_H];
        reloaded_ = now + 1;
        switch (i.opcode) {
        case OPCODE_REQUANT: groups_left_ = i[REQUANT_GROUPS]; break;
        case OPCODE_ADD: all_read_ = now + 1 + ELEMENT_PERIOD * (words_ - 1) + ADD_LAG; break;
        case OPCODE_MUL: all_read_ = now + 1 + ELEMENT_PERIOD * (words_ - 1) + MUL_LAG; break;
        case OPCODE_POOL: all_read_ = now + 1 + taps() * (words_ - 1); break;
        default:
            if (i[TABLE_RELOAD]) reloaded_ += TABLE_ENTRIES + PARAM_READ_LATENCY;
            all_read_ = reloaded_ + words_ - 1;
        }
    }
};
