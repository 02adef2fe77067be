// A queue in place, of at most CAPACITY elements (a power of two).
#pragma once

#include <cstdint>

template <class T, unsigned CAPACITY = 64>
class Ring {
public:
    bool empty() const { return first_ == end_; }
    unsigned size() const { return end_ - first_; }
    // Of an empty ring: whatever lies there.
    T& front() { return storage_[first_ % CAPACITY]; }
    const T& front() const { return storage_[first_ % CAPACITY]; }
    // The new element, to be filled in.
    T& push() { return storage_[end_++ % CAPACITY]; }
    void push(const T& element) { push() = element; }
    void pop() { first_++; }
    void clear() { first_ = end_; }

private:
    static_assert((CAPACITY & (CAPACITY - 1)) == 0, "the count of elements wraps at a power of two");
    T storage_[CAPACITY] = {};
    unsigned first_ = 0, end_ = 0; // count elements, not places
};
