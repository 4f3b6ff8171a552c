//! Tests of opening and trading over the emulated machine.
