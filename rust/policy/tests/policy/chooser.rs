//! Tables and cache against the plain reading.

use auditring_event::{Authority, Category, Context, Origin, Outcome};
use auditring_policy::{Decision, Keep, Policy, judge, otherwise, protected};
use proptest::prelude::*;

use crate::common::{Sent, again, blind, chooser, decide, facts, policy};

const KEPT: Decision = Decision::Keep { weight: 1 };

fn context() -> Context {
    Context {
        session: Some("s".into()),
        virtual_cluster: Some("payments".into()),
        principal: Some("svc-a".into()),
        principals: vec!["User:svc-a".into(), "Group:batch".into()],
        peer_ip: Some("::ffff:10.1.2.3".into()),
        tap: Some("edge".into()),
        filter: Some("com.example.Rename".into()),
        ..Context::default()
    }
}

#[test]
fn each_condition_matches_what_it_names() {
    let event =
        Sent { authority: Some(Authority::Witness), context: Some(context()), ..Sent::new("Read").on("metrics.cpu") };
    for (rule, left_out) in [
        (r#""action":["Read"]"#, true),
        (r#""action":["Write"]"#, false),
        (r#""action":["Write","R*d"]"#, true),
        (r#""category":["data"]"#, true),
        (r#""outcome":["success"]"#, true),
        (r#""outcome":["forwarded"]"#, false),
        (r#""authority":["witness"]"#, true),
        (r#""authority":["decision"]"#, false),
        (r#""origin":["client"]"#, true),
        (r#""origin":["filter"]"#, false),
        (r#""filter":["com.example.*"]"#, true),
        (r#""tap":["edge"]"#, true),
        (r#""tap":["inner"]"#, false),
        (r#""resource":["metrics.*"]"#, true),
        (r#""resource":["metrics"]"#, false),
        (r#""resource":["orders","metrics.???"]"#, true),
        (r#""principal":["svc-*"]"#, true),
        (r#""principal":["User:svc-a"]"#, true),
        (r#""principal":["batch"]"#, true),
        (r#""principal":["Group:svc-a"]"#, false),
        (r#""virtual_cluster":["payments"]"#, true),
        (r#""peer":["10.0.0.0/8"]"#, true),
        (r#""peer":["10.1.2.4","2001:db8::/32"]"#, false),
        (r#""action":["Read"],"resource":["metrics.*"],"principal":["svc-b"]"#, false),
    ] {
        let mut chooser = chooser(policy(&format!(r#"{{{rule},"keep":"off"}}"#)), None);
        let expected = if left_out { Decision::FilteredOut } else { KEPT };
        assert_eq!(decide(&mut chooser, &event, 1), expected, "{rule}");
    }
}

#[test]
fn what_is_not_there_is_matched_by_no_name() {
    let event = Sent::new("com.example.Odd");
    for field in ["filter", "tap", "resource", "principal", "virtual_cluster"] {
        let mut chooser = chooser(policy(&format!(r#"{{"{field}":["*"],"keep":"off"}}"#)), None);
        assert_eq!(decide(&mut chooser, &event, 1), KEPT, "{field}");
    }
    let mut chooser = chooser(policy(r#"{"peer":["0.0.0.0/0","::/0"],"keep":"off"}"#), None);
    assert_eq!(decide(&mut chooser, &event, 1), KEPT);
}

#[test]
fn the_first_rule_that_matches_decides() {
    let rules = r#"{"resource":["metrics.vital"],"keep":"all"},{"resource":["metrics.*"],"keep":"off"}"#;
    let mut chooser = chooser(policy(rules), None);
    let read = |topic| Sent::new("Read").on(topic).of("s");
    assert_eq!(decide(&mut chooser, &read("metrics.vital"), 1), KEPT);
    assert_eq!(decide(&mut chooser, &read("metrics.cpu"), 1), Decision::FilteredOut);
    assert_eq!(decide(&mut chooser, &read("orders"), 1), KEPT);
}

#[test]
fn names_of_free_form_and_declared_events_are_asked_for() {
    let mut chooser = chooser(policy(r#"{"action":["com.example.kms.*"],"keep":"off"}"#), None);
    for (action, expected) in [
        ("com.example.kms.KeyUsed", Decision::FilteredOut),
        ("com.example.kms.KeyMade", Decision::FilteredOut),
        ("com.example.Other", KEPT),
    ] {
        assert_eq!(decide(&mut chooser, &Sent::new(action), 1), expected, "{action}");
    }
}

#[test]
fn requests_are_off_unless_a_rule_names_them() {
    let request = Sent::new("RequestIngress").of("s");
    let failed = Sent { outcome: Some(Outcome::Failure), ..request.clone() };
    for (rules, expected) in [
        ("", Decision::FilteredOut),
        (r#"{"keep":"all"}"#, Decision::FilteredOut),
        (r#"{"category":["request"],"keep":"all"}"#, KEPT),
        (r#"{"action":["RequestIngress"],"keep":"all"}"#, KEPT),
    ] {
        let mut chooser = chooser(policy(rules), None);
        assert_eq!(decide(&mut chooser, &request, 1), expected, "{rules}");
        assert_eq!(decide(&mut chooser, &failed, 1), KEPT, "{rules}");
    }
}

#[test]
fn the_logs_off_wins_then_the_sinks_rules_then_the_logs_and_weights_never_multiply() {
    let log = r#"{"resource":["secret"],"keep":"off"},{"action":["Read"],"keep":"sample","one_in":1}"#;
    let own = r#"{"resource":["secret","vital"],"keep":"all"},{"resource":["orders"],"keep":"sample","one_in":1},
                 {"action":["Write"],"keep":"off"}"#;
    let mut chooser = chooser(policy(log), Some(policy(own)));
    let of = |action, topic: &str| Sent::new(action).on(topic).of("s");
    assert_eq!(decide(&mut chooser, &of("Read", "secret"), 1), Decision::FilteredOut);
    assert_eq!(decide(&mut chooser, &of("Read", "vital"), 1), KEPT);
    assert_eq!(decide(&mut chooser, &of("Write", "orders"), 1), KEPT);
    assert_eq!(decide(&mut chooser, &of("Write", "other"), 1), Decision::FilteredOut);
    let (log, own) = (r#"{"keep":"sample","one_in":1000}"#, r#"{"keep":"sample","one_in":2}"#);
    let mut chooser = crate::common::chooser(policy(log), Some(policy(own)));
    let weights: Vec<_> = (0..64).map(|n| decide(&mut chooser, &of("Read", &format!("t{n}")), n)).collect();
    assert!(weights.contains(&Decision::Keep { weight: 2 }) && weights.contains(&Decision::SampledOut));
    assert!(weights.iter().all(|one| [Decision::Keep { weight: 2 }, Decision::SampledOut].contains(one)));
}

#[test]
fn a_policy_that_may_be_blind_leaves_out_what_its_rules_say() {
    let denied = Sent { outcome: Some(Outcome::Denied), status: true, ..Sent::new("Read").on("orders").of("s") };
    let own = blind(r#"{"outcome":["denied"],"keep":"all"},{"keep":"off"}"#);
    let mut only_denials = chooser(policy(""), Some(own));
    assert_eq!(decide(&mut only_denials, &denied, 1), KEPT);
    assert_eq!(decide(&mut only_denials, &Sent::new("ProxyStartup"), 1), Decision::FilteredOut);
    let mut wide = chooser(policy(r#"{"keep":"off"}"#), None);
    assert_eq!(decide(&mut wide, &Sent::new("ProxyStartup"), 1), KEPT);
    let mut nothing = chooser(blind(r#"{"keep":"off"}"#), None);
    assert_eq!(decide(&mut nothing, &denied, 1), Decision::FilteredOut);
    // But for the rows that say that it is blind, and which policy it is.
    assert_eq!(decide(&mut nothing, &Sent::new("auditring.BlindSpots"), 1), KEPT);
    assert_eq!(decide(&mut nothing, &Sent::new("auditring.PolicyChanged"), 1), KEPT);
}

fn names(known: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(known), 1..3).prop_map(|names| format!("{names:?}"))
}

fn rule() -> impl Strategy<Value = String> {
    let condition = prop_oneof![
        names(&["Read", "Write", "R*", "com.example.*", "Operation*", "ClientAccept", "com.example.kms.KeyUsed"])
            .prop_map(|names| format!(r#""action":{names}"#)),
        names(&["data", "request", "plugin", "authorization", "connection"])
            .prop_map(|names| format!(r#""category":{names}"#)),
        names(&["success", "allowed", "*"]).prop_map(|names| format!(r#""outcome":{names}"#)),
        names(&["decision", "witness"]).prop_map(|names| format!(r#""authority":{names}"#)),
        names(&["client", "filter", "p*"]).prop_map(|names| format!(r#""origin":{names}"#)),
        names(&["com.example.*", "f"]).prop_map(|names| format!(r#""filter":{names}"#)),
        names(&["edge", "inner", "*"]).prop_map(|names| format!(r#""tap":{names}"#)),
        names(&["a", "b", "a*", "?", "*"]).prop_map(|names| format!(r#""resource":{names}"#)),
        names(&["alice", "User:*", "bob", "Group:*"]).prop_map(|names| format!(r#""principal":{names}"#)),
        names(&["payments", "p*"]).prop_map(|names| format!(r#""virtual_cluster":{names}"#)),
        names(&["10.0.0.0/8", "2001:db8::/32", "10.1.0.0/16"]).prop_map(|names| format!(r#""peer":{names}"#)),
    ];
    let keep = prop_oneof![
        Just(r#""keep":"all""#),
        Just(r#""keep":"off""#),
        Just(r#""keep":"coalesce","window_ns":1000000000"#),
        Just(r#""keep":"first","window_ns":2000000000,"by":["resource"]"#),
        Just(r#""keep":"sample","one_in":3"#),
        Just(r#""keep":"sample","one_in":2,"by":[]"#),
        Just(r#""keep":"sample","one_in":2,"by":["principal","partition"]"#),
    ];
    (prop::collection::vec(condition, 0..3), keep).prop_map(|(conditions, keep)| {
        let mut fields: Vec<String> = Vec::new();
        for one in conditions {
            let key = one.split(':').next().unwrap_or_default().to_owned();
            if !fields.iter().any(|known| known.starts_with(&key)) {
                fields.push(one);
            }
        }
        fields.push(keep.to_owned());
        format!("{{{}}}", fields.join(","))
    })
}

fn policies() -> impl Strategy<Value = Policy> {
    (prop::collection::vec(rule(), 0..6), any::<bool>()).prop_map(|(rules, blind)| {
        let text = format!(r#"{{"version":3,"seed":5,"allow_blind_spots":{blind},"rules":[{}]}}"#, rules.join(","));
        Policy::parse(text.as_bytes()).unwrap()
    })
}

fn whose() -> impl Strategy<Value = Option<Context>> {
    let text = |known: &'static [&'static str]| prop::option::of(prop::sample::select(known).prop_map(str::to_owned));
    let context = (
        text(&["s1", "s2"]),
        text(&["payments", "other"]),
        text(&["alice", "bob"]),
        prop::collection::vec(
            prop::sample::select(&["User:alice", "Group:ops", "bare"][..]).prop_map(str::to_owned),
            0..3,
        ),
        text(&["10.1.2.3", "10.2.0.1", "2001:db8::1", "fe80::1%eth0", "unix", "::ffff:10.1.0.1"]),
        text(&["edge", "inner"]),
        text(&["com.example.F", "f"]),
    )
        .prop_map(|(session, virtual_cluster, principal, principals, peer_ip, tap, filter)| Context {
            session,
            virtual_cluster,
            principal,
            principals,
            peer_ip,
            tap,
            filter,
            ..Context::default()
        });
    prop::option::of(context)
}

fn event() -> impl Strategy<Value = Sent> {
    let actions = &[
        "Read",
        "Write",
        "OperationAllowed",
        "OperationDenied",
        "ClientAccept",
        "ClientClose",
        "RequestIngress",
        "HttpRequest",
        "CreateTopics",
        "ClientSaslAuthSuccess",
        "ProxyStartup",
        "com.example.Odd",
        "com.example.kms.KeyUsed",
    ][..];
    let option = |known: &'static [&'static str]| prop::option::of(prop::sample::select(known));
    (
        prop::sample::select(actions),
        prop::option::of(prop::sample::select(Outcome::ALL)),
        prop::option::of(prop::sample::select(Authority::ALL)),
        prop::sample::select(Origin::ALL),
        prop::bool::weighted(0.2),
        option(&["a", "b", "ab", ""]),
        option(&["edge", "inner"]),
        option(&["com.example.F", "g"]),
        option(&["alice", "carol"]),
        0_i64..3,
        prop::bool::weighted(0.2),
    )
        .prop_map(
            |(action, outcome, authority, origin, status, resource, tap, filter, principal, partition, touch)| Sent {
                action,
                outcome,
                authority,
                origin,
                status,
                resource: resource.map(str::to_owned),
                tap,
                filter,
                principal,
                partition,
                first_touch: touch && matches!(action, "Read" | "Write"),
                context: None,
            },
        )
}

/// What a policy says by the rules read plainly, of the columns that a reader sees.
fn plainly(log: &Policy, own: Option<&Policy>, sent: &Sent) -> Keep {
    let columns = sent.columns();
    let event = facts(&columns, sent.status);
    let of_log = log.explain(&event).keep.unwrap_or_else(|| otherwise(&event));
    match (of_log, own.and_then(|own| own.explain(&event).keep)) {
        (Keep::Off, _) => Keep::Off,
        (log, own) => own.unwrap_or(log),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn tables_and_cache_come_to_what_the_rules_say(
        log in policies(),
        own in prop::option::of(policies()),
        whose in whose(),
        events in prop::collection::vec(event(), 1..40),
    ) {
        let mut chooser = chooser(log.clone(), own.clone());
        chooser.segment();
        let (mut balance, mut rows) = ([0_usize; 3], Vec::new());
        for (seq, event) in events.iter().enumerate() {
            let sent = Sent { context: whose.clone(), ..event.clone() };
            let decision = again(&mut chooser, &sent, seq as i64);
            match (plainly(&log, own.as_ref(), &sent), decision) {
                (Keep::All, Decision::Keep { weight: 1 }) | (Keep::Off, Decision::FilteredOut) => {}
                (Keep::Sample { .. }, Decision::Keep { weight: 1 }) if sent.first_touch => {}
                (Keep::Sample { one_in, .. }, Decision::Keep { weight }) if !sent.first_touch => {
                    prop_assert_eq!(one_in, weight);
                }
                (Keep::Sample { .. }, Decision::SampledOut) if !sent.first_touch => {}
                (Keep::Coalesce { window_ns: said }, Decision::Coalesce { window_ns }) => {
                    prop_assert_eq!(said, window_ns);
                    prop_assert!(matches!(sent.action, "Read" | "Write"));
                }
                (Keep::First { window_ns: said, .. }, Decision::First { window_ns, .. }) => {
                    prop_assert_eq!(said, window_ns);
                }
                (said, done) => prop_assert!(false, "{sent:?}: {said:?}, and not {done:?}"),
            }
            balance[match decision {
                // Merged or not, it is counted in a row.
                Decision::Keep { .. } | Decision::Coalesce { .. } | Decision::First { .. } => 0,
                Decision::SampledOut => 1,
                Decision::FilteredOut => 2,
            }] += 1;
            let columns = sent.columns();
            let facts = facts(&columns, sent.status);
            prop_assert_eq!(judge(&log, own.as_ref(), &facts).keep, plainly(&log, own.as_ref(), &sent));
            let blind = log.allow_blind_spots || own.as_ref().is_some_and(|own| own.allow_blind_spots);
            if !blind && protected(facts.category, facts.outcome, sent.status).is_some() {
                prop_assert_eq!(decision, KEPT, "protected: {:?}", sent);
            }
            rows.push(decision);
        }
        prop_assert_eq!(balance.iter().sum::<usize>(), events.len());
        // A sink that was killed and started again, in another segment and with an empty cache, comes to the same rows.
        let mut other = crate::common::chooser(log, own);
        for (seq, event) in events.iter().enumerate() {
            let sent = Sent { context: whose.clone(), ..event.clone() };
            prop_assert_eq!(rows[seq], decide(&mut other, &sent, seq as i64));
        }
    }

    #[test]
    fn an_action_that_is_off_for_the_emit_call_is_off_whatever_the_row_says(log in policies(), whose in whose(), event in event()) {
        let sent = Sent { context: whose, status: false, ..event };
        let columns = sent.columns();
        let facts = facts(&columns, false);
        let (code, name) = match auditring_event::by_name(sent.action) {
            Some(spec) => (spec.code, Some(spec.name)),
            None if sent.action == "com.example.kms.KeyUsed" => (768, Some(sent.action)),
            None => (auditring_event::FREEFORM, None),
        };
        if log.is_off(code, name, facts.category, facts.outcome) {
            prop_assert_eq!(plainly(&log, None, &sent), Keep::Off);
        }
        prop_assert!(facts.category != Category::Audit);
    }
}
