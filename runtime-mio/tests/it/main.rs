//! Agents on loopback addresses.
