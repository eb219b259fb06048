//! Steps through bytes as Kafka lays them out, without copying any.
//!
//! What must always hold: nothing is read that is not there, whatever the bytes claim; and no count off the wire reserves
//! memory.

/// Why there is nothing to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The bytes end before the value does.
    Short,
    /// No Kafka message looks like this.
    Malformed,
}

pub(crate) type Step<T> = Result<T, Stop>;

/// A topic's id.
pub(crate) type TopicId = [u8; 16];

/// A place in a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    /// What has not been read, of so many bytes.
    rest: &'a [u8],
    len: usize,
    /// Whether lengths are compact and structures end with tagged fields: a matter of the API's version.
    flexible: bool,
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(bytes: &'a [u8], flexible: bool) -> Self {
        Self { rest: bytes, len: bytes.len(), flexible }
    }

    /// Whether lengths are compact and structures end with tagged fields.
    #[inline]
    pub(crate) const fn is_flexible(&self) -> bool {
        self.flexible
    }

    /// How far it has come.
    #[inline]
    pub(crate) const fn at(&self) -> usize {
        self.len - self.rest.len()
    }

    /// How many bytes there are to read.
    #[inline]
    pub(crate) const fn left(&self) -> usize {
        self.rest.len()
    }

    /// The next bytes.
    #[inline]
    pub(crate) fn take(&mut self, len: usize) -> Step<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Stop::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Step<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Stop::Short)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(crate) fn bool(&mut self) -> Step<bool> {
        Ok(self.array::<1>()? != [0])
    }

    #[inline]
    pub(crate) fn i8(&mut self) -> Step<i8> {
        Ok(i8::from_be_bytes(self.array()?))
    }

    #[inline]
    pub(crate) fn i16(&mut self) -> Step<i16> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    #[inline]
    pub(crate) fn i32(&mut self) -> Step<i32> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    #[inline]
    pub(crate) fn i64(&mut self) -> Step<i64> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    pub(crate) fn uuid(&mut self) -> Step<TopicId> {
        self.array()
    }

    /// An unsigned number of seven bits a byte. Of a fifth byte, which has room for more than fits, Kafka drops the rest.
    #[inline]
    pub(crate) fn varint(&mut self) -> Step<u32> {
        let mut value = 0u32;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array()?;
            value |= u32::from(byte & 0x7F) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Stop::Malformed)
    }

    /// A length in seven bits a byte, one more than it is.
    #[inline]
    fn compact(&mut self) -> Step<Option<usize>> {
        // As Kafka counts: what is beyond its numbers is negative.
        Ok(usize::try_from((self.varint()? as i32).wrapping_sub(1)).ok())
    }

    /// The length of a string; none where it is null, as it is to Kafka by any negative length.
    #[inline]
    fn string_len(&mut self) -> Step<Option<usize>> {
        if self.flexible { self.compact() } else { Ok(usize::try_from(self.i16()?).ok()) }
    }

    /// A string that may be null; as it lies there, UTF-8 or not.
    #[inline]
    pub(crate) fn nullable_string(&mut self) -> Step<Option<&'a [u8]>> {
        let begin = self.rest;
        let taken = self.string_len().and_then(|len| len.map(|len| self.take(len)).transpose());
        // One that is only half there is read anew as a whole.
        taken.inspect_err(|_| self.rest = begin)
    }

    /// A string.
    #[inline]
    pub(crate) fn string(&mut self) -> Step<&'a [u8]> {
        self.nullable_string()?.ok_or(Stop::Malformed)
    }

    /// How many elements an array has, or bytes a blob; none where it is null. Not yet that so many are there.
    #[inline]
    pub(crate) fn count(&mut self) -> Step<Option<usize>> {
        if self.flexible { self.compact() } else { Ok(usize::try_from(self.i32()?).ok()) }
    }

    /// Bytes that may be null.
    pub(crate) fn nullable_bytes(&mut self) -> Step<Option<&'a [u8]>> {
        self.count()?.map(|len| self.take(len)).transpose()
    }

    /// Visits each element of an array that may be null; whether it was there.
    pub(crate) fn each(&mut self, mut visit: impl FnMut(&mut Self) -> Step<()>) -> Step<bool> {
        let Some(count) = self.count()? else { return Ok(false) };
        for _ in 0..count {
            // An element that takes no bytes would let a count off the wire keep us here.
            let before = self.left();
            visit(self)?;
            if self.left() == before {
                return Err(Stop::Malformed);
            }
        }
        Ok(true)
    }

    /// Visits each partition of each topic, of which `named` reads how it is called: so most messages about partitions are laid
    /// out.
    pub(crate) fn partitions<T: Copy>(
        &mut self,
        mut named: impl FnMut(&mut Self) -> Step<T>,
        mut visit: impl FnMut(T, &mut Self) -> Step<()>,
    ) -> Step<()> {
        self.each(|topic| {
            let name = named(topic)?;
            topic.each(|partition| {
                visit(name, partition)?;
                partition.tags()
            })?;
            topic.tags()
        })
        .map(drop)
    }

    /// Steps over the tagged fields that a flexible structure ends with.
    #[inline]
    pub(crate) fn tags(&mut self) -> Step<()> {
        self.tagged(|_, _| Ok(()))
    }

    /// Visits the tagged fields.
    #[inline]
    pub(crate) fn tagged(&mut self, mut visit: impl FnMut(u32, Self) -> Step<()>) -> Step<()> {
        if !self.flexible {
            return Ok(());
        }
        // A count beyond Kafka's numbers is negative to it, and then there are none.
        for _ in 0..self.varint()? as i32 {
            let (tag, len) = (self.varint()?, self.varint()?);
            visit(tag, Self::new(self.take(len as usize)?, true))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
