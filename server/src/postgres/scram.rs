//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, 5929, 7677), the server's side of one exchange.
//!
//! Promises: whether the user exists shows nowhere in the exchange; errors of form are PostgreSQL's;
//! nothing of a message is printed. Sends and receives nothing itself.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use subtle::ConstantTimeEq;
use thalweg_dataflow::{Error, Result, SqlState};
use thalweg_sql::roles::verifier::Verifier;

/// Without and with channel binding.
const PLAIN: &str = "SCRAM-SHA-256";
const PLUS: &str = "SCRAM-SHA-256-PLUS";

/// Random bytes of the server's part of the nonce, PostgreSQL's number.
const NONCE_BYTES: usize = 18;

/// The mechanisms to offer, the strongest first.
pub(super) fn mechanisms(can_bind: bool) -> &'static [&'static str] {
    if can_bind { &[PLUS, PLAIN] } else { &[PLAIN] }
}

/// An exchange whose first round is done.
pub(super) struct Exchange {
    verifier: Verifier,
    nonce: String,
    /// What the client's last message must be bound to.
    binding: String,
    /// The client's first message without its header, and the server's.
    said: String,
}

impl Exchange {
    /// The client's first message; the exchange and the answer. `end_point`: what the connection can
    /// be bound to.
    pub(super) fn begin(
        mechanism: &str,
        message: &[u8],
        verifier: Verifier,
        end_point: Option<&[u8]>,
    ) -> Result<(Exchange, String)> {
        let mut random = [0; NONCE_BYTES];
        let filled = SystemRandom::new().fill(&mut random);
        filled.map_err(|_| Error::internal("could not generate random nonce"))?;
        Exchange::begin_with(mechanism, message, verifier, end_point, &STANDARD.encode(random))
    }

    fn begin_with(
        mechanism: &str,
        message: &[u8],
        verifier: Verifier,
        end_point: Option<&[u8]>,
        own_nonce: &str,
    ) -> Result<(Exchange, String)> {
        if !mechanisms(end_point.is_some()).contains(&mechanism) {
            let message = "client selected an invalid SASL authentication mechanism";
            return Err(Error::new(SqlState::ProtocolViolation, message));
        }
        let text = std::str::from_utf8(message).map_err(|_| malformed("The message is not UTF-8."))?;
        let (flag, rest) = text.split_once(',').ok_or_else(|| malformed("The message ends too early."))?;
        let (identity, bare) = rest.split_once(',').ok_or_else(|| malformed("The message ends too early."))?;
        let bound = check_flag(flag, mechanism == PLUS, end_point)?;
        if !identity.is_empty() {
            return Err(Error::unsupported("an authorization identity of SCRAM"));
        }
        if bare.starts_with("m=") {
            return Err(Error::new(SqlState::FeatureNotSupported, "client requires an unsupported SCRAM extension"));
        }
        // The name is that of the startup packet, as in PostgreSQL; what stands here is not looked at.
        let (name, rest) = bare.split_once(',').ok_or_else(|| malformed("The message ends too early."))?;
        let nonce = rest.split(',').next().and_then(|nonce| nonce.strip_prefix("r="));
        let nonce = nonce.filter(|nonce| !nonce.is_empty() && nonce.bytes().all(|byte| byte.is_ascii_graphic()));
        let (true, Some(nonce)) = (name.starts_with("n="), nonce) else {
            return Err(malformed("There is no name or no nonce where it must be."));
        };
        let nonce = format!("{nonce}{own_nonce}");
        let answer = format!("r={nonce},s={},i={}", STANDARD.encode(verifier.salt()), verifier.iterations());
        let header = [format!("{flag},{identity},").as_bytes(), bound].concat();
        let exchange = Exchange { verifier, nonce, binding: STANDARD.encode(header), said: format!("{bare},{answer}") };
        Ok((exchange, answer))
    }

    /// The client's last message: the answer, or `None` if the proof is wrong.
    pub(super) fn end(&self, message: &[u8]) -> Result<Option<String>> {
        let text = std::str::from_utf8(message).map_err(|_| malformed("The message is not UTF-8."))?;
        let (unproven, proof) = text.rsplit_once(",p=").ok_or_else(|| malformed("There is no proof."))?;
        let mut attributes = unproven.split(',');
        let binding = attributes.next().and_then(|value| value.strip_prefix("c="));
        let nonce = attributes.next().and_then(|value| value.strip_prefix("r="));
        let (Some(binding), Some(nonce)) = (binding, nonce) else {
            return Err(malformed("There is no channel binding or no nonce where it must be."));
        };
        if !bool::from(binding.as_bytes().ct_eq(self.binding.as_bytes())) {
            return Err(Error::new(SqlState::InvalidAuthorization, "SCRAM channel binding check failed"));
        }
        if nonce != self.nonce {
            return Err(malformed("The nonce is another."));
        }
        let proof = STANDARD.decode(proof).map_err(|_| malformed("The proof is not base64."))?;
        let message = format!("{},{unproven}", self.said);
        if !self.verifier.accepts(message.as_bytes(), &proof) {
            return Ok(None);
        }
        Ok(Some(format!("v={}", STANDARD.encode(self.verifier.signature(message.as_bytes())))))
    }
}

/// What the client's header says of channel binding; the data to bind to.
fn check_flag<'a>(flag: &str, plus: bool, end_point: Option<&'a [u8]>) -> Result<&'a [u8]> {
    match (flag, plus, end_point) {
        ("p=tls-server-end-point", true, Some(data)) => Ok(data),
        ("n", false, _) | ("y", false, None) => Ok(&[]),
        ("y", false, Some(_)) => {
            let error = Error::new(SqlState::InvalidAuthorization, "SCRAM channel binding negotiation error");
            Err(error.detail(
                "The client supports SCRAM channel binding but thinks the server does not.  \
                 However, this server does support channel binding.",
            ))
        }
        ("n" | "y", true, _) => Err(malformed(
            "The client selected SCRAM-SHA-256-PLUS, but the SCRAM message does not include channel binding data.",
        )),
        (other, true, _) if other.starts_with("p=") => {
            let message = "unsupported SCRAM channel-binding type";
            Err(Error::new(SqlState::ProtocolViolation, message))
        }
        (other, false, _) if other.starts_with("p=") => Err(malformed(
            "The client selected SCRAM-SHA-256 without channel binding, but the SCRAM message includes channel binding data.",
        )),
        _ => Err(malformed("Unexpected channel-binding flag.")),
    }
}

fn malformed(detail: &str) -> Error {
    Error::new(SqlState::ProtocolViolation, "malformed SCRAM message").detail(detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: &[u8] = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";

    fn pencil() -> Verifier {
        let printed = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
                       wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";
        Verifier::parse(printed).unwrap()
    }

    #[test]
    fn the_example_of_rfc_7677_goes_through() {
        let own = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let (exchange, answer) = Exchange::begin_with(PLAIN, FIRST, pencil(), None, own).unwrap();
        let nonce = format!("rOprNGfwEbeRWgbNEkqO{own}");
        assert_eq!(answer, format!("r={nonce},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"));
        let last = format!("c=biws,r={nonce},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        let done = exchange.end(last.as_bytes()).unwrap();
        assert_eq!(done.as_deref(), Some("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
        // One bit off.
        assert_eq!(exchange.end(last.replace("dHzb", "dHzc").as_bytes()).unwrap(), None);
        let binding = exchange.end(last.replace("biws", "eSws").as_bytes()).unwrap_err();
        assert_eq!(binding.message(), "SCRAM channel binding check failed");
        for broken in ["", "c=biws", "c=biws,r=x,p=QQ==", "c=biws,p=QQ=="] {
            assert_eq!(exchange.end(broken.as_bytes()).unwrap_err().state(), SqlState::ProtocolViolation, "{broken}");
        }
    }

    #[test]
    fn channel_binding_cannot_be_talked_away() {
        let begin = |mechanism, first: &[u8], end_point| {
            Exchange::begin_with(mechanism, first, pencil(), end_point, "x").map(|(_, answer)| answer)
        };
        let bound: Option<&[u8]> = Some(b"certificate");
        let first = b"p=tls-server-end-point,,n=,r=abc";
        assert!(begin(PLUS, first, bound).is_ok());
        assert!(begin(PLAIN, b"n,,n=,r=abc", bound).is_ok());
        assert!(begin(PLAIN, b"y,,n=,r=abc", None).is_ok());
        let down = begin(PLAIN, b"y,,n=,r=abc", bound).unwrap_err();
        assert_eq!(down.message(), "SCRAM channel binding negotiation error");
        for (mechanism, first, end_point) in [
            (PLUS, &first[..], None),
            (PLAIN, &first[..], bound),
            (PLUS, &b"n,,n=,r=abc"[..], bound),
            (PLUS, &b"p=tls-unique,,n=,r=abc"[..], bound),
            (PLAIN, &b"n,a=you,n=,r=abc"[..], None),
            (PLAIN, &b"n,,m=x,n=,r=abc"[..], None),
            (PLAIN, &b"n,,n=,r="[..], None),
            (PLAIN, &b"n,,n="[..], None),
            (PLAIN, &b"\xff"[..], None),
            ("MD5", &b"n,,n=,r=abc"[..], None),
        ] {
            assert!(begin(mechanism, first, end_point).is_err(), "{mechanism} {first:?}");
        }
    }
}
