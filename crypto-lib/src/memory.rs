//! Where secrets live: the crate's only file with `unsafe`.
//!
//! Key bytes arrive here from the random source or an unwrap and leave by `expose`, for one call into the provider.
//! A secret must never be copied, printed, compared in variable time, or left behind in freed memory. What this
//! cannot reach: copies that the compiler or the provider makes on the stack while a key is being set up.

#![allow(unsafe_code)]

use core::mem::{MaybeUninit, needs_drop, size_of};

use ring::rand::{SecureRandom, SystemRandom};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use crate::Error;

/// A secret of `N` bytes: on the heap, so that moving it leaves no copy; wiped when dropped; no `Debug`, no `Clone`.
pub struct Secret<const N: usize>(Box<[u8; N]>);

impl<const N: usize> Secret<N> {
    /// Draws `N` random bytes from the operating system.
    pub fn draw() -> Result<Self, Error> {
        let mut secret = Self::zeroed();
        fill_random(&mut secret.0[..])?;
        Ok(secret)
    }

    /// Takes the bytes over and wipes the source.
    pub fn take(source: &mut [u8; N]) -> Self {
        let mut secret = Self::zeroed();
        secret.0.copy_from_slice(source);
        source.zeroize();
        secret
    }

    /// Copies from a slice of exactly `N` bytes; none if the length differs. The source stays the caller's to wipe.
    #[must_use]
    pub fn from_slice(source: &[u8]) -> Option<Self> {
        let mut secret = Self::zeroed();
        if source.len() != N {
            return None;
        }
        secret.0.copy_from_slice(source);
        Some(secret)
    }

    /// Lends the bytes for one call into a cryptographic primitive or a wrap.
    #[must_use]
    pub fn expose(&self) -> &[u8; N] {
        &self.0
    }

    /// Compares in constant time.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }

    /// All zero, to be filled in place.
    pub(crate) fn zeroed() -> Self {
        Self(Box::new([0u8; N]))
    }

    /// The bytes, to be filled in place.
    pub(crate) fn expose_mut(&mut self) -> &mut [u8; N] {
        &mut self.0
    }
}

impl<const N: usize> Drop for Secret<N> {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// Holds a provider's expanded key and wipes its memory when dropped. For types without drop glue only.
pub struct Wiped<T>(Box<MaybeUninit<T>>);

impl<T> Wiped<T> {
    /// Moves the value to the heap. Does not compile for a type that owns anything.
    pub fn new(value: T) -> Self {
        const { assert!(!needs_drop::<T>(), "a type with drop glue must not be overwritten") };
        Self(Box::new(MaybeUninit::new(value)))
    }

    /// Lends the value.
    #[must_use]
    pub fn lend(&self) -> &T {
        // SAFETY: initialised in `new`, overwritten only in `drop`.
        unsafe { self.0.assume_init_ref() }
    }
}

impl<T> Drop for Wiped<T> {
    fn drop(&mut self) {
        let start = self.0.as_mut_ptr().cast::<MaybeUninit<u8>>();
        // SAFETY: the box owns size_of::<T>() bytes from `start`, any byte pattern (padding too) is a valid
        // MaybeUninit<u8>, and no one reads a `T` there again: `T` has no drop glue (asserted in `new`).
        let bytes = unsafe { core::slice::from_raw_parts_mut(start, size_of::<T>()) };
        bytes.zeroize();
    }
}

/// Fills a buffer from the operating system's random source.
pub(crate) fn fill_random(buffer: &mut [u8]) -> Result<(), Error> {
    // Vectors have to come out the same each time; nothing of this is in the library that is built.
    #[cfg(test)]
    if crate::fixture::fill_fixed(buffer) {
        return Ok(());
    }
    SystemRandom::new().fill(buffer).map_err(|_| Error::Entropy)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn take_wipes_its_source() {
        let mut source = [7u8; 32];
        let secret = Secret::take(&mut source);
        assert_eq!(source, [0u8; 32]);
        assert_eq!(secret.expose(), &[7u8; 32]);
    }

    #[test]
    fn secrets_match_only_when_equal() {
        let (one, two) = (Secret::<32>::draw().unwrap(), Secret::<32>::draw().unwrap());
        assert!(one.matches(&Secret::from_slice(one.expose()).unwrap()));
        assert!(!one.matches(&two));
        assert!(Secret::<32>::from_slice(&[0; 31]).is_none());
    }

    #[test]
    fn wiped_lends_what_it_was_given() {
        let wiped = Wiped::new([3u8; 40]);
        assert_eq!(wiped.lend(), &[3u8; 40]);
    }
}
