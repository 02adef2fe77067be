// The compute and vector units. Their walks over pixels take a known time, so each is kept as the cycle of its end and
// not stepped; what the units do in between is the control of hw/compute.py and hw/vector.py.
//
// `clock` returns whether a register changed that later cycles depend on. When none did, nothing happens before the
// earliest of the times that `wake` gives.
#pragma once

#include "instruction.hpp"
#include "streams.hpp"

class Compute {
public:
    // `latency`: compute_latency, `empty`: array_empty of the configuration.
    Compute(unsigned rows, unsigned latency, unsigned empty)
        : period_(std::max(rows, MIN_PASS)), latency_(latency), empty_(empty) {}

    bool start_ready(uint64_t now) const { return !loading(now) && !waiting_; }
    bool release(uint64_t now) const { return releases_.at(now); }
    bool done(uint64_t now) const { return dones_.at(now); }
    // A pixel word is on its way to the array.
    bool active(uint64_t now) const { return now >= begun_ + PASS_LATENCY && now < walked_ + PASS_LATENCY; }
    bool busy(uint64_t now) const { return loading(now) || waiting_ || (now > begun_ && now < walked_ + PASS_LATENCY); }
    bool starved(uint64_t now) const { return now >= walked_ && !waiting_ && loading(now); }

    bool clock(uint64_t now, const Instruction* start) {
        if (ending_ && now >= loaded_) busy_ = ending_ = false;
        bool changed = start || (busy_ && !primed_);
        const bool at_row0 = busy_ && primed_ && now >= loaded_ && !waiting_;
        const bool same_mode = mode_.fir == body_.mode.fir && (!mode_.fir || (
            mode_.spacing == body_.mode.spacing && mode_.walk_w == body_.mode.walk_w));
        const bool settled = now >= settled_ && !(moved_ && now < drained_);
        const bool take = waiting_ && now >= walked_ && settled && (same_mode || now >= emptied_);
        if (releases_.at(now)) releases_.pop(), changed = true;
        if (dones_.at(now)) dones_.pop(), changed = true;
        if (take) begin_pass(now), changed = true;
        if (busy_ && !primed_) primed_ = true;
        if (at_row0) load_tile(now), changed = true;
        if (start) accept(*start);
        return changed;
    }

    void wake(Alarm& alarm) const {
        for (uint64_t time : {loaded_, walked_, walked_ + PASS_LATENCY, begun_ + PASS_LATENCY, settled_, drained_,
                              emptied_})
            alarm.at(time);
        releases_.wake(alarm);
        dones_.wake(alarm);
    }

private:
    struct Mode {
        bool fir = false;
        unsigned spacing = 0, walk_w = 0;
    };
    struct Body {
        Mode mode;
        bool accumulate;
        unsigned acc, groups;
        uint64_t tiles, pixels; // of a group, of a pass
    };

    const unsigned period_, latency_, empty_;
    // Loader: it has an instruction, its walker holds the next pass, a pass waits for the streamer.
    bool busy_ = false, primed_ = false, waiting_ = false;
    bool fresh_ = false;  // the first pass of the instruction is still to come
    bool last_ = false;   // the waiting pass is the last of its instruction
    bool ending_ = false; // the tile that loads is the last of its instruction
    bool moved_ = false;
    Body body_ = {};
    uint64_t tile_ = 0;
    uint64_t loaded_ = 0; // the next tile may begin to load
    // Streamer.
    Mode mode_;
    unsigned acc_ = 0;
    uint64_t begun_ = 0, walked_ = 0; // the pass before the first word of a gapless stream was taken; its last word
    uint64_t settled_ = 0, drained_ = 0, emptied_ = 0;
    Pulses releases_, dones_;

    bool loading(uint64_t now) const { return busy_ && !(ending_ && now >= loaded_); }

    void accept(const Instruction& i) {
        body_.mode = {i[COMPUTE_FIR] != 0, i[COMPUTE_SPACING], i[COMPUTE_WALK_W]};
        body_.accumulate = i[COMPUTE_ACCUMULATE];
        body_.acc = i[COMPUTE_ACC];
        body_.groups = i[COMPUTE_GROUPS];
        body_.tiles = uint64_t(i[COMPUTE_KW]) * i[COMPUTE_KH] * i[COMPUTE_BLOCKS];
        body_.pixels = body_.mode.fir ? i[COMPUTE_LEAD] + uint64_t(i[COMPUTE_WALK_W]) * i[COMPUTE_WALK_H]
                                      : uint64_t(i[COMPUTE_OUT_W]) * i[COMPUTE_OUT_H];
        busy_ = fresh_ = true;
        primed_ = false;
        tile_ = 0;
    }

    void load_tile(uint64_t now) {
        const bool group_ends = ++tile_ == body_.tiles;
        waiting_ = true;
        last_ = ending_ = group_ends && body_.groups == 1;
        moved_ = fresh_ && body_.accumulate && (body_.mode.fir || body_.acc != acc_);
        fresh_ = false;
        loaded_ = now + period_;
        if (group_ends && !last_) {
            primed_ = false;
            tile_ = 0;
            body_.groups--;
        }
    }

    void begin_pass(uint64_t now) {
        if (now > walked_) begun_ = now;
        walked_ = now + body_.pixels;
        mode_ = body_.mode;
        acc_ = body_.acc;
        settled_ = now + MIN_PASS;
        drained_ = walked_ + MIN_PASS - 1;
        emptied_ = walked_ + PASS_LATENCY + empty_;
        waiting_ = false;
        if (last_) {
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

    bool clock(uint64_t now, const Instruction* start) {
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
        bool changed = start || begin || done || all_read || group_begin || group_end || params_held_;

        params_held_ = group_begin;
        if (reads && !reading_) {
            reading_ = changed = true;
            params_read_ = now + PARAM_WORDS - 1;
        }
        if (reads && now == params_read_) {
            params_ready_ = changed = true;
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
        return changed;
    }

    void wake(Alarm& alarm) const {
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
