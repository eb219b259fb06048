use kafka_protocol::messages::ApiKey;

use super::*;

#[test]
fn versions_and_forms_are_those_of_another_implementation() {
    let mut newer = Vec::new();
    for api in APIS {
        let Ok(known) = ApiKey::try_from(api.key) else {
            newer.push((api.name, api.last + 1));
            continue;
        };
        assert_eq!(format!("{known:?}"), api.name);
        let versions = known.valid_versions();
        assert_eq!(versions.min, api.first, "{}", api.name);
        if versions.max != api.last {
            newer.push((api.name, api.last - versions.max));
        }
        for version in versions.min..=versions.max {
            assert_eq!(known.request_header_version(version) >= 2, api.is_flexible(version), "{} {version}", api.name);
            let tags = known.response_header_version(version) >= 1;
            assert_eq!(tags, api.answer_has_tags(version), "{} {version}", api.name);
        }
    }
    // What Kafka has added since: so many versions, and the heartbeat of streams as a whole.
    let added = [
        ("ListOffsets", 1),
        ("ApiVersions", 1),
        ("WriteTxnMarkers", 1),
        ("TxnOffsetCommit", 1),
        ("DescribeLogDirs", 1),
        ("DeleteGroups", 1),
        ("ShareFetch", 1),
        ("ShareAcknowledge", 1),
        ("AddRaftVoter", 1),
        ("StreamsGroupHeartbeat", 2),
        ("DescribeShareGroupOffsets", 1),
    ];
    assert_eq!(added.to_vec(), newer);
}

#[test]
fn an_api_is_found_by_its_key_and_every_key_has_a_name() {
    for api in APIS {
        assert_eq!(Some(api.name), by_key(api.key).map(|found| found.name));
        assert_eq!(Some(api.name), name(api.key));
    }
    assert!(APIS.is_sorted_by_key(|api| api.key));
    for key in [i16::MIN, -1, 4, 16, 95, i16::MAX] {
        assert!(by_key(key).is_none(), "{key}");
    }
    assert_eq!((Some("UnregisterController"), None, None), (name(94), name(95), name(-1)));
}
