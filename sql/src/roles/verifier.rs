//! What is kept of a password: a SCRAM-SHA-256 verifier (RFC 5802, RFC 7677).
//!
//! Promises: printed and read as PostgreSQL does (`SCRAM-SHA-256$4096:salt$StoredKey:ServerKey`); a
//! password itself is never kept, and neither it nor a verifier shows in `Debug`. Does not talk:
//! the exchange with a client is the server's.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac, pbkdf2};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use subtle::ConstantTimeEq;
use thalweg_dataflow::error::{Error, Result};

/// The rounds of new verifiers, PostgreSQL's scram_iterations.
const ITERATIONS: u32 = 4096;

/// Bytes of a new salt.
const SALT_BYTES: usize = 16;

/// Bytes of a key.
const KEY_BYTES: usize = digest::SHA256_OUTPUT_LEN;

/// A key of SHA-256's length.
pub type Key = [u8; KEY_BYTES];

/// A password that a statement or a file gave: for [`Verifier::of_password`] and nothing else.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Over the password's text.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The password.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// See the module.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    iterations: u32,
    salt: Vec<u8>,
    stored_key: Key,
    server_key: Key,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(***)")
    }
}

impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (salt, stored) = (STANDARD.encode(&self.salt), STANDARD.encode(self.stored_key));
        write!(f, "SCRAM-SHA-256${}:{salt}${stored}:{}", self.iterations, STANDARD.encode(self.server_key))
    }
}

impl Serialize for Verifier {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Verifier {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Verifier, D::Error> {
        let text = String::deserialize(deserializer)?;
        Verifier::parse(&text).ok_or_else(|| serde::de::Error::custom("a verifier of another form"))
    }
}

impl Verifier {
    /// Of a password, with a fresh salt. Error: no random numbers can be had.
    pub fn of_password(password: &Secret) -> Result<Verifier> {
        let mut salt = vec![0; SALT_BYTES];
        random(&mut salt)?;
        Ok(Verifier::derive(password.text(), salt, ITERATIONS))
    }

    /// For a user who does not exist: no password fits, and the salt is always the same, so that the
    /// exchange does not tell. `seed` is the server's secret.
    pub fn nobody(seed: &[u8], user: &str) -> Result<Verifier> {
        let mut hashed = digest::Context::new(&digest::SHA256);
        hashed.update(seed);
        hashed.update(user.as_bytes());
        let salt = hashed.finish().as_ref()[..SALT_BYTES].to_vec();
        let (mut stored_key, mut server_key) = ([0; KEY_BYTES], [0; KEY_BYTES]);
        random(&mut stored_key)?;
        random(&mut server_key)?;
        Ok(Verifier { iterations: ITERATIONS, salt, stored_key, server_key })
    }

    fn derive(password: &str, salt: Vec<u8>, iterations: u32) -> Verifier {
        // What SASLprep refuses is taken as it is, as PostgreSQL and libpq do.
        let prepared = stringprep::saslprep(password).unwrap_or(password.into());
        let mut salted = [0; KEY_BYTES];
        let rounds = std::num::NonZeroU32::new(iterations).unwrap_or(std::num::NonZeroU32::MIN);
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, prepared.as_bytes(), &mut salted);
        let stored_key = sha256(&mac(&salted, b"Client Key"));
        let server_key = mac(&salted, b"Server Key");
        Verifier { iterations, salt, stored_key, server_key }
    }

    /// A verifier as it is printed; `None`: the text is something else, a password perhaps.
    pub fn parse(text: &str) -> Option<Verifier> {
        let (iterations, rest) = text.strip_prefix("SCRAM-SHA-256$")?.split_once(':')?;
        let (salt, keys) = rest.split_once('$')?;
        let (stored, server) = keys.split_once(':')?;
        let key = |text: &str| Key::try_from(STANDARD.decode(text).ok()?).ok();
        let iterations = iterations.parse().ok().filter(|rounds| *rounds > 0)?;
        let salt = STANDARD.decode(salt).ok().filter(|salt| !salt.is_empty())?;
        Some(Verifier { iterations, salt, stored_key: key(stored)?, server_key: key(server)? })
    }

    /// Whether it was made from this password.
    pub fn fits(&self, password: &Secret) -> bool {
        let derived = Verifier::derive(password.text(), self.salt.clone(), self.iterations);
        derived.stored_key.ct_eq(&self.stored_key).into()
    }

    /// The rounds of PBKDF2.
    pub fn iterations(&self) -> u32 {
        self.iterations
    }

    /// The salt.
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// Whether a client's proof over this message shows that it knows the password.
    pub fn accepts(&self, message: &[u8], proof: &[u8]) -> bool {
        let signature = mac(&self.stored_key, message);
        if proof.len() != KEY_BYTES {
            return false;
        }
        let mut client_key = [0; KEY_BYTES];
        client_key.iter_mut().zip(proof.iter().zip(signature)).for_each(|(key, (proof, sign))| *key = proof ^ sign);
        sha256(&client_key).ct_eq(&self.stored_key).into()
    }

    /// What shows the client that the server knows the verifier.
    pub fn signature(&self, message: &[u8]) -> Key {
        mac(&self.server_key, message)
    }
}

/// Fills bytes with random ones.
pub(crate) fn random(bytes: &mut [u8]) -> Result<()> {
    let filled = SystemRandom::new().fill(bytes);
    filled.map_err(|_| Error::internal("there are no random numbers"))
}

fn sha256(bytes: &[u8]) -> Key {
    let mut key = [0; KEY_BYTES];
    key.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    key
}

fn mac(key: &[u8], message: &[u8]) -> Key {
    let mut made = [0; KEY_BYTES];
    made.copy_from_slice(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message).as_ref());
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What PostgreSQL 15 stored for the password `pencil`.
    const PRINTED: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

    #[test]
    fn the_example_of_rfc_7677_is_met() {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let verifier = Verifier::derive("pencil", salt, 4096);
        let message = "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                       s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
                       c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let proof = STANDARD.decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=").unwrap();
        assert!(verifier.accepts(message.as_bytes(), &proof));
        assert!(!verifier.accepts(message.as_bytes(), &proof[1..]));
        assert!(!verifier.accepts(b"another", &proof));
        let signature = STANDARD.encode(verifier.signature(message.as_bytes()));
        assert_eq!(signature, "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn verifiers_are_printed_and_read_as_postgresql_does() {
        let verifier = Verifier::parse(PRINTED).unwrap();
        assert_eq!(verifier.to_string(), PRINTED);
        assert!(verifier.fits(&Secret::new("pencil")));
        assert!(!verifier.fits(&Secret::new("Pencil")));
        let fresh = Verifier::of_password(&Secret::new("p\u{aa}ss")).unwrap();
        assert_eq!(Verifier::parse(&fresh.to_string()), Some(fresh.clone()));
        // SASLprep: the ordinal indicator is an a.
        assert!(fresh.fits(&Secret::new("pass")));
        for other in ["", "pencil", "SCRAM-SHA-256$", "SCRAM-SHA-256$0:QQ==$QQ==:QQ==", &PRINTED[..PRINTED.len() - 3]] {
            assert_eq!(Verifier::parse(other), None, "{other}");
        }
    }

    #[test]
    fn nothing_secret_is_printed_for_debugging() {
        let shown = format!("{:?} {:?}", Secret::new("pencil"), Verifier::parse(PRINTED));
        assert_eq!(shown, "*** Some(Verifier(***))");
    }

    #[test]
    fn a_user_who_does_not_exist_always_has_the_same_salt() {
        let (one, two) = (Verifier::nobody(b"seed", "x").unwrap(), Verifier::nobody(b"seed", "x").unwrap());
        assert_eq!((one.salt(), one.iterations()), (two.salt(), 4096));
        assert_ne!(one.salt(), Verifier::nobody(b"seed", "y").unwrap().salt());
        assert_ne!(one, two);
    }
}
