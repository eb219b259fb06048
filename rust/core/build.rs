//! Tells the code which interpreter it is built for: above all whether that has a GIL.

fn main() {
    pyo3_build_config::use_pyo3_cfgs();
}
