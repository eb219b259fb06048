//! The name in a client's first message.
//!
//! What must always hold: nothing but a name is taken for one. A message that is not built as its mechanism has it may have
//! a secret where the name belongs, and brokers refuse it: no name is read from it.

use auditring_event::sanitize;

use crate::attempt::Kind;

const NAME_CAP: usize = auditring_event::SESSION_PRINCIPAL_CAP;

/// Whom the client says it is.
pub(crate) fn claim(kind: Kind, proof: &[u8]) -> Option<String> {
    let name = match kind {
        Kind::Plain => plain(proof),
        Kind::Scram => scram(proof),
        // The same header, and then the token.
        Kind::Bearer => header(proof)?.0.and_then(|name| name.strip_prefix(b"a=")).map(unescape),
        Kind::Other => None,
    }?;
    (!name.is_empty()).then(|| sanitize::text(&name, NAME_CAP).0.into_owned())
}

/// `[authorization id] NUL name NUL password`. Kafka takes no other authorization id than the name, and no NUL elsewhere.
fn plain(proof: &[u8]) -> Option<Vec<u8>> {
    let mut parts = proof.split(|byte| *byte == 0);
    let (authorization, name, password) = (parts.next()?, parts.next()?, parts.next()?);
    let whole = parts.next().is_none() && !password.is_empty() && (authorization.is_empty() || authorization == name);
    whole.then(|| name.to_vec())
}

/// The header and then attributes, `[m=extension,]n=name,r=nonce`. Of a delegation token (`tokenauth=true`) the name is the
/// token's id: only the broker knows whose it is.
fn scram(proof: &[u8]) -> Option<Vec<u8>> {
    let (_, bare) = header(proof).filter(|_| !proof.contains(&0))?;
    let mut attributes = bare.split(|byte| *byte == b',').peekable();
    attributes.next_if(|attribute| attribute.starts_with(b"m="));
    let name = attributes.next()?.strip_prefix(b"n=")?;
    attributes.next()?.starts_with(b"r=").then(|| unescape(name))
}

/// The header `n,[a=name],` (GS2), in which `y` and `p=…` say something of TLS: the name, if it is there, and what follows.
fn header(proof: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let mut parts = proof.splitn(3, |byte| *byte == b',');
    let (binding, name, behind) = (parts.next()?, parts.next()?, parts.next()?);
    let known = matches!(binding, b"n" | b"y") || binding.starts_with(b"p=");
    (known && (name.is_empty() || name.starts_with(b"a="))).then(|| ((!name.is_empty()).then_some(name), behind))
}

/// A name as SCRAM writes it, where `=2C` is a comma and `=3D` the sign itself.
fn unescape(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len().min(NAME_CAP));
    let mut rest = name;
    // What is beyond the cap is cut anyway.
    while let Some((first, behind)) = rest.split_first().filter(|_| out.len() <= NAME_CAP) {
        let (byte, behind) = match rest {
            [b'=', b'2', b'C', behind @ ..] => (b',', behind),
            [b'=', b'3', b'D', behind @ ..] => (b'=', behind),
            _ => (*first, behind),
        };
        out.push(byte);
        rest = behind;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_first_messages() {
        let cases: [(Kind, &[u8], Option<&str>); 26] = [
            (Kind::Plain, b"\0alice\0alice-secret", Some("alice")),
            (Kind::Plain, b"alice\0alice\0alice-secret", Some("alice")),
            (Kind::Plain, b"other\0alice\0alice-secret", None),
            (Kind::Plain, b"alice\0alice-secret\0", None),
            (Kind::Plain, b"\0alice-secret\0", None),
            (Kind::Plain, b"\0alice\0with\0nul", None),
            (Kind::Plain, b"\0alice", None),
            (Kind::Plain, b"\0\0x", None),
            (Kind::Plain, b"", None),
            (Kind::Scram, b"n,,n=bob,r=abc", Some("bob")),
            (Kind::Scram, b"n,a=bob,n=bob,r=abc", Some("bob")),
            (Kind::Scram, b"y,,m=x,n=b=2Co=3Db=2,r=abc", Some("b,o=b=2")),
            (Kind::Scram, b"n,,n=token-id,r=abc,tokenauth=true", Some("token-id")),
            (Kind::Scram, b"n,,r=abc", None),
            (Kind::Scram, b"n", None),
            (Kind::Scram, b"p=tls-unique,,n=bob,r=abc", Some("bob")),
            (Kind::Scram, b"n,,n=bob", None),
            (Kind::Scram, b"n,,r=abc,n=secret", None),
            (Kind::Scram, b"n,secret,n=bob,r=abc", None),
            (Kind::Scram, b"\0alice\0se,cr,n=et,r=", None),
            (Kind::Scram, b"n,,n=bob\0secret,r=abc", None),
            (Kind::Bearer, b"n,a=carol,\x01auth=Bearer eyJ,n=x\x01\x01", Some("carol")),
            (Kind::Bearer, b"n,,\x01auth=Bearer eyJ\x01\x01", None),
            (Kind::Bearer, b"\0alice\0se,a=cret,", None),
            (Kind::Other, b"\0alice\0x", None),
            (Kind::Other, b"n,a=alice,n=alice", None),
        ];
        for (kind, proof, name) in cases {
            assert_eq!(name, claim(kind, proof).as_deref(), "{kind:?} {:?}", String::from_utf8_lossy(proof));
        }
    }
}
