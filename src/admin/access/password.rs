//! Passwords: only their argon2 hashes are kept.

use std::fmt;

use argon2::password_hash::{self, PasswordHasher as _, PasswordVerifier as _, SaltString};
use argon2::{Algorithm, Argon2};

/// An argon2 hash in its usual form, `$argon2id$v=19$...`. It is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(***)")
    }
}

impl PasswordHash {
    /// Takes a hash as it was made.
    ///
    /// # Errors
    /// What is wrong with it; not the hash.
    pub fn parse(text: &str) -> Result<Self, String> {
        let hash = password_hash::PasswordHash::new(text).map_err(|error| error.to_string())?;
        Algorithm::try_from(hash.algorithm).map_err(|_| "it is not of argon2".to_owned())?;
        if hash.hash.is_none() {
            return Err("it has no hash".to_owned());
        }
        Ok(Self(text.to_owned()))
    }

    /// Makes one, with a salt of its own: argon2id at its usual cost (19 MiB, two passes).
    ///
    /// # Errors
    /// The system gives no random bytes, or the password is longer than 4 GiB.
    pub fn of(password: &str) -> Result<Self, String> {
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(|error| error.to_string())?;
        let salt = SaltString::encode_b64(&salt).map_err(|error| error.to_string())?;
        let hash = Argon2::default().hash_password(password.as_bytes(), &salt);
        Ok(Self(hash.map_err(|error| error.to_string())?.to_string()))
    }

    /// The hash, to be written down.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Whether it is that of `password`. Takes tens of milliseconds of a processor, on purpose.
    #[must_use]
    pub fn is_of(&self, password: &str) -> bool {
        password_hash::PasswordHash::new(&self.0)
            .is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_knows_its_password_and_shows_nothing() {
        let hash = PasswordHash::of("correct horse").unwrap();
        assert!(hash.is_of("correct horse") && !hash.is_of("correct horses"));
        assert!(hash.reveal().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert_eq!(PasswordHash::parse(hash.reveal()), Ok(hash.clone()));
        assert_eq!(format!("{hash:?}"), "PasswordHash(***)");
        assert_ne!(hash, PasswordHash::of("correct horse").unwrap(), "a salt of its own");
    }

    #[test]
    fn what_is_no_hash_is_refused() {
        for wrong in
            ["", "secret", "$2b$12$abcdefghijklmnopqrstuv", "$argon2id$v=19$m=19456,t=2,p=1"]
        {
            assert!(PasswordHash::parse(wrong).is_err(), "{wrong}");
        }
    }
}
