//! Who a client proves to be: names and mechanisms, never a secret.

use kafka_protocol::messages::{
    SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
};

use crate::messages::produce::{write, written};
use crate::messages::wire::{Connection, answer, batch, frame, request, string};

fn handshake(seen: &mut Connection, version: i16, mechanism: &str, code: i16) {
    seen.client(&request(1, version, &SaslHandshakeRequest::default().with_mechanism(string(mechanism))));
    let told = SaslHandshakeResponse::default().with_error_code(code).with_mechanisms(vec![string("PLAIN")]);
    seen.broker(&answer(1, version, &told));
}

fn prove(seen: &mut Connection, version: i16, proof: &[u8], code: i16, challenge: &[u8]) {
    seen.client(&request(2, version, &SaslAuthenticateRequest::default().with_auth_bytes(proof.to_vec().into())));
    let mut told = SaslAuthenticateResponse::default().with_error_code(code).with_auth_bytes(challenge.to_vec().into());
    if code != 0 {
        told = told.with_error_message(Some(string("Authentication failed: no such secret-password")));
    }
    seen.broker(&answer(2, version, &told));
}

const FIRST: &[u8] = b"n,,n=bo=2Cb,r=nonce";
const FINAL: &[u8] = b"c=biws,r=nonce,p=proof";

#[test]
fn plain_and_scram_say_who() {
    for version in 0..=2 {
        let mut seen = Connection::default();
        handshake(&mut seen, 1, "PLAIN", 0);
        prove(&mut seen, version, b"\0alice\0secret-password", 0, b"");
        let alice = "ClientSaslAuthSuccess success principal=alice mechanism=PLAIN ⇒ alice by PLAIN";
        assert_eq!([alice], *seen.events());
        // Proving itself again, by another mechanism.
        handshake(&mut seen, 1, "SCRAM-SHA-256", 0);
        prove(&mut seen, version, FIRST, 0, b"r=nonce,s=salt,i=4096");
        assert_eq!(Vec::<String>::new(), seen.events());
        prove(&mut seen, version, FINAL, 0, b"v=signature");
        let bob = "ClientSaslAuthSuccess success principal=bo,b mechanism=SCRAM-SHA-256 ⇒ bo,b by SCRAM-SHA-256";
        assert_eq!([bob], *seen.events());
        handshake(&mut seen, 1, "SCRAM-SHA-256", 0);
        prove(&mut seen, version, FIRST, 0, b"r=nonce,s=salt,i=4096");
        prove(&mut seen, version, FINAL, 58, b"");
        let failed = "ClientSaslAuthFailure failure attempted_principal=bo,b mechanism=SCRAM-SHA-256 \
                      status=SaslAuthenticationFailed";
        assert_eq!([failed], *seen.events());
    }
}

#[test]
fn an_unknown_user_fails_at_its_first_message() {
    let mut seen = Connection::default();
    handshake(&mut seen, 1, "SCRAM-SHA-512", 0);
    prove(&mut seen, 2, b"n,,n=nobody,r=nonce", 58, b"");
    let failed = "ClientSaslAuthFailure failure attempted_principal=nobody mechanism=SCRAM-SHA-512 \
                  status=SaslAuthenticationFailed";
    assert_eq!([failed], *seen.close().events());
}

#[test]
fn a_mechanism_that_the_broker_does_not_have_is_a_failure() {
    let mut seen = Connection::default();
    handshake(&mut seen, 1, "GSSAPI", 33);
    assert_eq!(["ClientSaslAuthFailure failure mechanism=GSSAPI status=UnsupportedSaslMechanism"], *seen.events());
}

#[test]
fn of_other_mechanisms_the_last_message_is_empty() {
    let mut seen = Connection::default();
    handshake(&mut seen, 1, "OAUTHBEARER", 0);
    prove(&mut seen, 2, b"n,,\x01auth=Bearer secret-token\x01\x01", 0, b"{\"status\":\"invalid_token\"}");
    prove(&mut seen, 2, b"\x01", 58, b"");
    handshake(&mut seen, 1, "OAUTHBEARER", 0);
    prove(&mut seen, 2, b"n,a=carol,\x01auth=Bearer secret-token\x01\x01", 0, b"");
    handshake(&mut seen, 1, "GSSAPI", 0);
    prove(&mut seen, 2, b"\x60secret", 0, b"more");
    prove(&mut seen, 2, b"", 0, b"layers");
    prove(&mut seen, 2, b"secret", 0, b"");
    let expected = [
        "ClientSaslAuthFailure failure mechanism=OAUTHBEARER status=SaslAuthenticationFailed",
        "ClientSaslAuthSuccess success principal=carol mechanism=OAUTHBEARER ⇒ carol by OAUTHBEARER",
        "ClientSaslAuthSuccess success mechanism=GSSAPI ⇒ ? by GSSAPI",
    ];
    assert_eq!(expected, *seen.events());
}

#[test]
fn behind_the_first_handshake_tokens_go_without_headers() {
    let mut seen = Connection::default();
    handshake(&mut seen, 0, "PLAIN", 0);
    for byte in frame(b"\0alice\0secret-password") {
        seen.client(&[byte]);
    }
    seen.broker(&frame(b""));
    // And then requests.
    seen.client(&request(7, 9, &write(1, &[("a", &[(0, batch(0, 0, 1, 0))])])));
    seen.broker(&answer(7, 9, &written(9, &[("a", &[(0, 0, 5)])])));
    handshake(&mut seen, 0, "SCRAM-SHA-256", 0);
    seen.client(&frame(FIRST)).broker(&frame(b"r=nonce,s=salt,i=4096"));
    seen.client(&frame(FINAL)).broker(&frame(b"v=signature"));
    let events = seen.events();
    assert_eq!("ClientSaslAuthSuccess success principal=alice mechanism=PLAIN ⇒ alice by PLAIN", events[0]);
    assert!(events[1].starts_with("Write success topic=a "), "{events:?}");
    assert!(events[2].ends_with(" ⇒ bo,b by SCRAM-SHA-256"), "{events:?}");
    // A no is the end of the connection.
    handshake(&mut seen, 0, "PLAIN", 0);
    seen.client(&frame(b"\0alice\0wrong-password")).close();
    let failed =
        "ClientSaslAuthFailure failure attempted_principal=alice mechanism=PLAIN status=SaslAuthenticationFailed";
    assert_eq!([failed], *seen.events());
}

#[test]
fn bare_tokens_of_a_mechanism_that_only_they_know_are_not_read() {
    let mut seen = Connection::default();
    handshake(&mut seen, 0, "GSSAPI", 0);
    seen.client(&frame(b"\x60secret")).client(b"more").broker(b"whatever").close();
    let blind = "auditring.TapBlind failure client_correlation_id=1 api_version=0 api=SaslHandshake from=broker \
                 blind=connection status=UnsupportedMechanism";
    assert_eq!([blind], *seen.events());
}

#[test]
fn a_password_in_the_place_of_the_name_is_not_said() {
    for (mechanism, proof) in [
        ("PLAIN", &b"alice\0secret-password\0"[..]),
        ("PLAIN", b"alice\0secret-password\0x"),
        ("PLAIN", b"\0secret-password\0"),
        ("SCRAM-SHA-256", b"\0alice\0se,cr,n=et"),
        ("SCRAM-SHA-256", b"n,,r=nonce,n=secret"),
        ("OAUTHBEARER", b"\0alice\0se,a=cret,"),
    ] {
        let mut seen = Connection::default();
        handshake(&mut seen, 1, mechanism, 0);
        prove(&mut seen, 2, proof, 58, b"");
        let failed = format!("ClientSaslAuthFailure failure mechanism={mechanism} status=SaslAuthenticationFailed");
        assert_eq!([failed], *seen.events());
    }
}

fn hands_shaken(code: i16) -> Vec<u8> {
    answer(1, 0, &SaslHandshakeResponse::default().with_error_code(code).with_mechanisms(vec![string("PLAIN")]))
}

fn shake_hands(mechanism: &str) -> Vec<u8> {
    request(1, 0, &SaslHandshakeRequest::default().with_mechanism(string(mechanism)))
}

/// A Produce request that is not answered, and what is said of it.
fn unanswered() -> Vec<u8> {
    request(7, 9, &write(0, &[("a", &[(0, batch(0, 0, 1, 0))])]))
}

const WRITTEN: &str = "Write forwarded topic=a ";

#[test]
fn what_is_sent_behind_bare_tokens_is_a_request() {
    let mut seen = Connection::default();
    handshake(&mut seen, 0, "PLAIN", 0);
    seen.client(&[frame(b"\0alice\0secret-password"), unanswered()].concat());
    let events = seen.events();
    assert!(events.len() == 1 && events[0].starts_with(WRITTEN), "{events:?}");
    seen.broker(&frame(b""));
    assert_eq!(["ClientSaslAuthSuccess success principal=alice mechanism=PLAIN ⇒ alice by PLAIN"], *seen.events());

    let mut seen = Connection::default();
    handshake(&mut seen, 0, "SCRAM-SHA-256", 0);
    seen.client(&[frame(FIRST), frame(FINAL), unanswered()].concat());
    let events = seen.events();
    assert!(events.len() == 1 && events[0].starts_with(WRITTEN), "{events:?}");
    seen.broker(&[frame(b"r=nonce,s=salt,i=4096"), frame(b"v=signature")].concat());
    seen.client(&request(8, 9, &write(1, &[("a", &[(0, batch(0, 0, 1, 0))])])));
    seen.broker(&answer(8, 9, &written(9, &[("a", &[(0, 0, 5)])])));
    let events = seen.events();
    assert!(events[0].ends_with(" ⇒ bo,b by SCRAM-SHA-256"), "{events:?}");
    assert!(events.len() == 2 && events[1].starts_with("Write success topic=a "), "{events:?}");
}

#[test]
fn a_bearer_token_that_is_challenged_has_one_more_behind_it() {
    let token = |name: &str| frame(format!("n,a={name},\x01auth=Bearer secret-token\x01\x01").as_bytes());
    let mut seen = Connection::default();
    handshake(&mut seen, 0, "OAUTHBEARER", 0);
    seen.client(&token("admin")).broker(&frame(b"{\"status\":\"invalid_token\"}"));
    // It is whom the token that was taken says.
    seen.client(&[token("carol"), unanswered()].concat()).broker(&frame(b""));
    let events = seen.events();
    assert!(events[0].starts_with(WRITTEN), "{events:?}");
    assert_eq!(
        ["ClientSaslAuthSuccess success principal=carol mechanism=OAUTHBEARER ⇒ carol by OAUTHBEARER"],
        events[1..]
    );

    let mut seen = Connection::default();
    handshake(&mut seen, 0, "OAUTHBEARER", 0);
    seen.client(&token("carol")).broker(&frame(b"{\"status\":\"invalid_token\"}")).client(&frame(b"\x01")).close();
    let failed = "ClientSaslAuthFailure failure attempted_principal=carol mechanism=OAUTHBEARER \
                  status=SaslAuthenticationFailed";
    assert_eq!([failed], *seen.events());
}

#[test]
fn a_challenge_proves_nothing_whatever_was_sent_ahead_of_it() {
    let mut seen = Connection::default();
    handshake(&mut seen, 0, "SCRAM-SHA-256", 0);
    seen.client(&[frame(FIRST), frame(b"garbage")].concat()).broker(&frame(b"r=nonce,s=salt,i=4096"));
    assert_eq!(Vec::<String>::new(), seen.events());
    let failed = "ClientSaslAuthFailure failure attempted_principal=bo,b mechanism=SCRAM-SHA-256 \
                  status=SaslAuthenticationFailed";
    assert_eq!([failed], *seen.close().events());

    let mut seen = Connection::default();
    handshake(&mut seen, 1, "SCRAM-SHA-256", 0);
    prove(&mut seen, 2, FIRST, 0, b"r=nonce,s=salt,i=4096");
    prove(&mut seen, 2, b"garbage", 0, b"r=nonce,s=salt,i=4096");
    assert_eq!(Vec::<String>::new(), seen.close().events());
}

#[test]
fn tokens_need_not_wait_for_the_answer_to_the_handshake() {
    let mut seen = Connection::default();
    seen.client(&[shake_hands("PLAIN"), frame(b"\0alice\0secret-password"), unanswered()].concat());
    seen.broker(&[hands_shaken(0), frame(b"")].concat());
    let events = seen.events();
    assert!(events[0].starts_with(WRITTEN), "{events:?}");
    assert_eq!(["ClientSaslAuthSuccess success principal=alice mechanism=PLAIN ⇒ alice by PLAIN"], events[1..]);
    assert!(!seen.tap.is_opaque());
}

#[test]
fn behind_a_handshake_that_is_refused_there_are_no_tokens() {
    let failed = "ClientSaslAuthFailure failure mechanism=PLAIN status=IllegalSaslState";
    let mut seen = Connection::default();
    seen.client(&shake_hands("PLAIN")).broker(&hands_shaken(34)).client(&unanswered());
    let events = seen.events();
    assert_eq!(failed, events[0]);
    assert!(events.len() == 2 && events[1].starts_with(WRITTEN), "{events:?}");
    // What went ahead of the no has been taken for a token, and may have been a request.
    seen.client(&[shake_hands("PLAIN"), unanswered()].concat()).broker(&hands_shaken(34));
    let blind = "auditring.TapBlind failure client_correlation_id=1 api_version=0 api=SaslHandshake from=broker \
                 blind=connection status=UnsupportedMechanism";
    assert_eq!([failed, blind], *seen.events());
}

#[test]
fn what_a_proxy_answers_itself_makes_no_tokens() {
    let mut seen = Connection::default();
    seen.tap.answered(1);
    seen.client(&shake_hands("PLAIN")).client(&unanswered());
    seen.client(&shake_hands("PLAIN"));
    seen.tap.answered(1);
    seen.client(&unanswered());
    let events = seen.events();
    assert!(events.len() == 2 && events.iter().all(|row| row.starts_with(WRITTEN)), "{events:?}");
}

#[test]
fn who_is_served_after_a_message_that_only_they_know_is_in() {
    let ask = |id| request(id, 9, &write(1, &[]));
    let told = |id| answer(id, 9, &written(9, &[]));
    let mut seen = Connection::default();
    handshake(&mut seen, 1, "AWS_MSK_IAM", 0);
    prove(&mut seen, 2, b"{\"secret\":\"x\"}", 0, b"{\"request-id\":\"x\"}");
    // The first answer may be a no, after which the connection ends.
    seen.client(&ask(5)).client(&ask(6)).broker(&told(5)).broker(&told(6));
    assert_eq!(Vec::<String>::new(), seen.events());
    seen.client(&ask(7)).broker(&told(7)).client(&ask(8)).broker(&told(8));
    assert_eq!(["ClientSaslAuthSuccess success mechanism=AWS_MSK_IAM ⇒ ? by AWS_MSK_IAM"], *seen.events());

    // A no ends it, whatever is answered then.
    handshake(&mut seen, 1, "AWS_MSK_IAM", 0);
    prove(&mut seen, 2, b"{\"secret\":\"x\"}", 0, b"more");
    prove(&mut seen, 2, b"", 58, b"");
    for id in 5..9 {
        seen.client(&ask(id)).broker(&told(id));
    }
    assert_eq!(["ClientSaslAuthFailure failure mechanism=AWS_MSK_IAM status=SaslAuthenticationFailed"], *seen.events());
}

#[test]
fn a_no_to_a_bare_token_ends_the_tokens() {
    let mut seen = Connection::default();
    handshake(&mut seen, 0, "SCRAM-SHA-256", 0);
    seen.client(&frame(FIRST)).broker(&frame(b"e=unknown-user"));
    // To a broker that goes on after it.
    seen.client(&unanswered());
    let events = seen.close().events();
    let failed = "ClientSaslAuthFailure failure attempted_principal=bo,b mechanism=SCRAM-SHA-256 \
                  status=SaslAuthenticationFailed";
    assert_eq!(failed, events[0]);
    assert!(events.len() == 2 && events[1].starts_with(WRITTEN), "{events:?}");
}
