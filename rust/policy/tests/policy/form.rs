//! The journaled form, of every version.

use auditring_policy::{Decision, Policy};

use crate::common::{Sent, chooser, decide};

fn refusal(rules: &str) -> String {
    let text = format!(r#"{{"version":2,"seed":7,"allow_blind_spots":false,"rules":[{rules}]}}"#);
    match Policy::parse(text.as_bytes()).and_then(|policy| policy.check()) {
        Ok(()) => "accepted".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn version_one_is_read_as_the_rules_that_it_stands_for() {
    let bytes = br#"{"read":{"keep":"sample","one_in":1000000},"seed":7,"version":1,"write":{"keep":"off"}}"#;
    let mut chooser = chooser(Policy::parse(bytes).unwrap(), None);
    let of = |action| Sent::new(action).on("orders").of("s");
    assert_eq!(decide(&mut chooser, &of("Read"), 1), Decision::SampledOut);
    assert_eq!(decide(&mut chooser, &of("Write"), 1), Decision::FilteredOut);
    assert_eq!(decide(&mut chooser, &of("RequestIngress"), 1), Decision::FilteredOut);
    assert_eq!(decide(&mut chooser, &of("OperationAllowed"), 1), Decision::Keep { weight: 1 });
}

#[test]
fn stories_are_chosen_as_they_ever_were() {
    // By the hash that version 1 had: xxh3(topic, seed ^ xxh3(session)). Rows in old journals come out as they did.
    let one = Policy::parse(br#"{"read":{"keep":"sample","one_in":4},"seed":11,"version":1}"#).unwrap();
    let mut chooser = chooser(one, None);
    let kept: Vec<_> = (0..24)
        .filter(|n| {
            let sent = Sent::new("Read").on(&format!("t{n}")).of("session-1");
            decide(&mut chooser, &sent, *n) == Decision::Keep { weight: 4 }
        })
        .collect();
    let expected: Vec<i64> = (0..24)
        .filter(|n| {
            let session = xxhash_rust::xxh3::xxh3_64_with_seed(b"session-1", 0x5E55_1014);
            let story = xxhash_rust::xxh3::xxh3_64_with_seed(format!("t{n}").as_bytes(), 0xB ^ session);
            (u128::from(story) * 4) >> 64 == 0
        })
        .collect();
    assert_eq!(kept, expected);
    assert!(!kept.is_empty() && kept.len() < 24);
}

#[test]
fn what_is_not_understood_is_refused() {
    for bad in [
        &b"{}"[..],
        br#"{"version":3,"seed":1}"#,
        br#"{"version":4,"seed":1,"allow_blind_spots":false,"rules":[]}"#,
        br#"{"version":2,"seed":1,"allow_blind_spots":false,"rules":[],"redact":[{"field":"peer","how":"drop"}]}"#,
        br#"{"version":1,"seed":1,"reed":{"keep":"all"}}"#,
        br#"{"version":1,"seed":1,"read":{"keep":"sample","one_in":0}}"#,
        br#"{"version":1,"seed":1,"read":{"keep":"sometimes"}}"#,
        br#"{"version":2,"seed":1,"rules":[]}"#,
        br#"{"version":2,"seed":1,"allow_blind_spots":false,"rules":[{"keep":"coalesce"}]}"#,
        br#"{"version":2,"seed":1,"allow_blind_spots":false,"rules":[{"keep":"all","topic":["x"]}]}"#,
    ] {
        assert!(Policy::parse(bad).is_err(), "{}", String::from_utf8_lossy(bad));
    }
}

#[test]
fn a_refusal_says_which_rule_and_what_was_probably_meant() {
    for (rules, says) in [
        (
            r#"{"keep":"all"},{"action":["Raed"],"keep":"off"}"#,
            r#"rule 2: there is no action "Raed"; did you mean "Read"?"#,
        ),
        (r#"{"outcome":["sucess"],"keep":"off"}"#, r#"there is no outcome "sucess"; did you mean "success"?"#),
        (r#"{"category":["x*"],"keep":"off"}"#, r#"there is no category "x*"; known: lifecycle, "#),
        (r#"{"action":["auditring.Balanced"],"keep":"all"}"#, r#"there is no action "auditring.Balanced""#),
        (r#"{"peer":["10.0.0.1/8"],"keep":"off"}"#, r#"the network is "10.0.0.0/8""#),
        (r#"{"peer":["somewhere"],"keep":"off"}"#, "a network like"),
        (r#"{"keep":"sometimes"}"#, r#"or "first", not "sometimes""#),
        (r#"{"keep":"coalesce"}"#, r#"keep "coalesce" needs a window"#),
        (r#"{"keep":"coalesce","window_ns":60000000001}"#, "a window is 0.001 to 60 seconds"),
        (r#"{"keep":"first","window_ns":300000000001}"#, "a window is 0.001 to 300 seconds"),
        (r#"{"keep":"off","window_ns":1000000000}"#, "has no window"),
        (r#"{"keep":"coalesce","window_ns":1000000000,"by":[]}"#, "has no by"),
        (r#"{"action":["Delete"],"keep":"coalesce","window_ns":1000000000}"#, r#"it coalesces action "Delete""#),
        (r#"{"category":["connection"],"keep":"coalesce","window_ns":1000000000}"#, r#"category "connection""#),
        (r#"{"keep":"sample"}"#, "needs one_in"),
        (r#"{"keep":"sample","one_in":0}"#, "one_in=0"),
        (r#"{"keep":"off","one_in":3}"#, "has no one_in"),
        (r#"{"resource":[],"keep":"off"}"#, "which nothing can match"),
    ] {
        let why = refusal(rules);
        assert!(why.contains(says), "{rules}: {why}");
    }
}

#[test]
fn a_rule_that_names_what_is_protected_is_a_mistake_and_a_wide_one_is_not() {
    for rules in [
        r#"{"outcome":["denied"],"keep":"off"}"#,
        r#"{"action":["Read"],"outcome":["success","failure"],"keep":"off"}"#,
        r#"{"category":["data","administration"],"keep":"sample","one_in":2}"#,
        r#"{"category":["auth?ntication"],"keep":"off"}"#,
        r#"{"action":["ClientSaslAuthSuccess"],"keep":"off"}"#,
        r#"{"action":["OperationDenied"],"keep":"off"}"#,
        r#"{"action":["auditring.*"],"keep":"off"}"#,
        r#"{"action":["*Acls"],"keep":"off"}"#,
    ] {
        let why = refusal(rules);
        assert!(why.contains("always kept") && why.contains("allow_blind_spots"), "{rules}: {why}");
        let text = format!(r#"{{"version":2,"seed":7,"allow_blind_spots":true,"rules":[{rules}]}}"#);
        assert!(Policy::parse(text.as_bytes()).unwrap().check().is_ok(), "{rules}");
    }
    for rules in [
        r#"{"keep":"off"}"#,
        r#"{"action":["*"],"keep":"off"}"#,
        r#"{"action":["Client*"],"keep":"off"}"#,
        r#"{"category":["a*"],"keep":"off"}"#,
        r#"{"outcome":["denied"],"keep":"all"}"#,
        r#"{"keep":"coalesce","window_ns":1000000000}"#,
        r#"{"action":["*"],"keep":"coalesce","window_ns":1000000000}"#,
        r#"{"action":["com.example.kms.KeyUsed","OperationAllowed","ClientAccept"],"keep":"off"}"#,
        r#"{"peer":["10.0.0.0/8","2001:db8::/32","::1","10.0.0.1"],"keep":"off"}"#,
    ] {
        assert_eq!(refusal(rules), "accepted", "{rules}");
    }
}

#[test]
fn windows_that_do_not_end_together_are_refused_with_one_that_would_do() {
    let of = |kind: &str, seconds: f64| {
        let window = (seconds * 1e9) as i64;
        format!(r#"{{"action":["Read"],"keep":"{kind}","window_ns":{window}}}"#)
    };
    for (longest, other, says) in [
        (60.0, 7.0, "7.5 would do"),
        (300.0, 40.0, "37.5 would do"),
        (10.0, 9.0, "10 would do"),
        (1.0, 0.3, "0.25 would do"),
        (60.0, 20.0, "accepted"),
        (60.0, 0.5, "accepted"),
        (60.0, 60.0, "accepted"),
    ] {
        let why = refusal(&[of("first", longest), of("coalesce", other)].join(","));
        assert!(why.ends_with(says), "{longest} and {other}: {why}");
    }
    let one = |seconds| {
        let text =
            format!(r#"{{"version":3,"seed":1,"allow_blind_spots":false,"rules":[{}]}}"#, of("coalesce", seconds));
        Policy::parse(text.as_bytes()).unwrap()
    };
    assert!(one(1.0).check_windows(Some(&one(0.5))).is_ok());
    assert!(one(1.0).check_windows(Some(&one(0.4))).is_err());
    assert!(one(0.4).check_windows(Some(&one(1.0))).is_err());
    assert_eq!(auditring_policy::windows(&one(1.0), Some(&one(0.5))), [500_000_000, 1_000_000_000]);
}
