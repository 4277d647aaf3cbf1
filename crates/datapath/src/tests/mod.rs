//! Ring 2: the built object against its Rust twins, and the programs' own functions against `plan`.
//! What needs privileges is in `root` and fails without them.

mod layout;
mod root;
