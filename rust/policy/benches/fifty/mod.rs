//! Fifty rules that benches of more than one room go by.

use std::fmt::Write as _;

/// Forty-nine rules that no row meets, and a last one that drops all.
pub(crate) fn rules() -> String {
    let mut rules = String::new();
    for at in 0..49 {
        let rule = match at % 4 {
            0 => format!(r#"{{"action":["Read"],"resource":["*.internal-{at}","tmp?{at}-*"],"keep":"all"}}"#),
            1 => format!(r#"{{"peer":["192.168.{at}.0/24","2001:db8:{at}::/48"],"keep":"all"}}"#),
            2 => format!(r#"{{"principal":["svc-{at}-*","User:batch-{at}"],"keep":"sample","one_in":{}}}"#, at + 2),
            _ => format!(r#"{{"virtual_cluster":["staging-{at}*"],"resource":["*-{at}-*"],"keep":"off"}}"#),
        };
        write!(rules, "{rule},").expect("writing into a string cannot fail");
    }
    rules + r#"{"keep":"off"}"#
}
