//! Pure.
#![no_std]
extern crate alloc;
