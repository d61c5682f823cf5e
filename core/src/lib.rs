//! Pure.
#![no_std]
extern crate alloc;

pub mod go_regex;
