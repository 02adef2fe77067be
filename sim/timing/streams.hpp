// The elastic storage of hw/fifo.py, without data paths: what a stream holds in a cycle, and its step to the next.
#pragma once

#include <cstdint>

// `StreamFifo`: an element is at the output in the cycle after it was pushed.
template <class T>
class Fifo {
public:
    static constexpr unsigned CAPACITY = 64;

    explicit Fifo(unsigned depth) : depth_(depth) {}
    bool ready() const { return level_ != depth_; }
    bool valid() const { return level_ != 0; }
    const T& front() const { return storage_[first_ % CAPACITY]; }
    void push(const T& element) { storage_[(first_ + level_++) % CAPACITY] = element; }
    void pop() { first_++, level_--; }

private:
    T storage_[CAPACITY] = {};
    unsigned depth_, first_ = 0, level_ = 0;
};

// `StreamBuffer`: a register slice with one more register for the element in flight when the output stalls.
template <class T>
class Slice {
public:
    bool ready() const { return !full_; }
    bool valid() const { return valid_; }
    bool empty() const { return !valid_ && !full_; }
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

// The earliest of the cycles after `now` in which a comparison with a time changes its result.
struct Alarm {
    static constexpr uint64_t NEVER = ~uint64_t(0);
    uint64_t now, next = NEVER;
    void at(uint64_t time) {
        if (time > now && time < next) next = time;
    }
};

// Pulses at ascending times: a chain of registers behind an event.
class Pulses {
public:
    bool at(uint64_t now) const { return times_.valid() && times_.front() == now; }
    void push(uint64_t time) { times_.push(time); }
    void pop() { times_.pop(); }
    void wake(Alarm& alarm) const {
        if (times_.valid()) alarm.at(times_.front());
    }

private:
    Fifo<uint64_t> times_{Fifo<uint64_t>::CAPACITY};
};
