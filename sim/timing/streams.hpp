// The elastic storage of hw/fifo.py, without data paths: what a stream holds in a cycle, and its step to the next.
#pragma once

#include <cstdint>

#include "../rtl/ring.hpp"

// Of times, and of counts of cycles.
constexpr uint64_t NEVER = ~uint64_t(0);

// `StreamFifo`: an element is at the output in the cycle after it was pushed.
template <class T>
class Fifo : public Ring<T> {
public:
    explicit Fifo(unsigned depth = 0) : depth_(depth) {}
    bool ready() const { return this->size() != depth_; }
    bool valid() const { return !this->empty(); }

private:
    unsigned depth_;
};

// `StreamBuffer`: a register slice with one more register for the element in flight when the output stalls.
template <class T>
class Slice {
public:
    bool ready() const { return !full_; }
    bool valid() const { return valid_; }
    const T& front() const { return out_; }
    // `offered` is null when the input is not valid.
    void clock(const T* offered, bool out_ready) {
        if (out_ready || !valid_) {
            valid_ = offered || full_;
            if (full_) out_ = caught_;
            else if (offered) out_ = *offered;
            full_ = false;
        } else if (offered && !full_) {
            full_ = true;
            caught_ = *offered;
        }
    }

private:
    T out_ = {}, caught_ = {};
    bool valid_ = false, full_ = false;
};

// The earliest of the cycles after `now` in which a unit must be clocked.
struct Alarm {
    uint64_t now, next = NEVER;
    // In that cycle, unless it has passed; in the first one from it on; before the cycle from which it shows otherwise.
    void at(uint64_t time) {
        if (time > now && time < next) next = time;
    }
    void from(uint64_t time) { at(time > now ? time : now + 1); }
    void before(uint64_t time) { at(time - 1); }
};

// Pulses at ascending times: a chain of registers behind an event.
class Pulses {
public:
    bool at(uint64_t now) const { return !times_.empty() && times_.front() == now; }
    void push(uint64_t time) { times_.push(time); }
    void pop() { times_.pop(); }
    void wake(Alarm& alarm) const {
        if (!times_.empty()) alarm.at(times_.front());
    }

private:
    Ring<uint64_t> times_;
};
