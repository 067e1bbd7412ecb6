//! The protobuf wire format as an iterator of fields that allocates nothing.
//!
//! It lets a decoder look at each field before it makes room for it, and borrow from the bytes. Fields that a decoder does not know are
//! its to skip, so a newer peer may send more. Groups, which proto3 does not have, are refused.

use super::DecodeError;

/// One field: its number and what it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its number in the schema.
    pub number: u32,
    value: Value<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32,
    Bytes(&'a [u8]),
}

/// The fields of one message, in the order of the wire.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The fields of `message`.
    #[must_use]
    pub const fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// The next field, or none at the end.
    ///
    /// # Errors
    /// [`DecodeError::Malformed`]; then the message is of no more use.
    pub fn read(&mut self) -> Result<Option<Field<'a>>, DecodeError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).map_err(|_| DecodeError::Malformed("a field number over its limit"))?;
        if number == 0 {
            return Err(DecodeError::Malformed("field number zero"));
        }
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => Value::Bytes(self.bytes()?),
            5 => self.array::<4>().map(|_| Value::Fixed32)?,
            _ => return Err(DecodeError::Malformed("an unknown wire type")),
        };
        Ok(Some(Field { number, value }))
    }

    fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.rest.split_first().ok_or(DecodeError::Malformed("cut off"))?;
            self.rest = rest;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(DecodeError::Malformed("a number over 64 bits"))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Malformed("cut off"))?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
        let (bytes, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(DecodeError::Malformed("a length beyond the end"))?;
        self.rest = rest;
        Ok(bytes)
    }
}

impl<'a> Field<'a> {
    /// The value of a `uint64`, `uint32` or enum field.
    ///
    /// # Errors
    /// When the field is of another type.
    pub const fn varint(self) -> Result<u64, DecodeError> {
        match self.value {
            Value::Varint(value) => Ok(value),
            _ => Err(DecodeError::WrongType(self.number)),
        }
    }

    /// The value of a `bool` field.
    ///
    /// # Errors
    /// When the field is of another type.
    pub fn bool(self) -> Result<bool, DecodeError> {
        self.varint().map(|value| value != 0)
    }

    /// The value of a `fixed64` field.
    ///
    /// # Errors
    /// When the field is of another type.
    pub const fn fixed64(self) -> Result<u64, DecodeError> {
        match self.value {
            Value::Fixed64(value) => Ok(value),
            _ => Err(DecodeError::WrongType(self.number)),
        }
    }

    /// The content of a `bytes` or message field.
    ///
    /// # Errors
    /// When the field is of another type.
    pub const fn bytes(self) -> Result<&'a [u8], DecodeError> {
        match self.value {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(DecodeError::WrongType(self.number)),
        }
    }

    /// The content of a `string` field.
    ///
    /// # Errors
    /// When the field is of another type, or no UTF-8.
    pub fn text(self) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| DecodeError::Malformed("text that is not UTF-8"))
    }

    /// The fields of a message field.
    ///
    /// # Errors
    /// When the field is of another type.
    pub fn message(self) -> Result<Fields<'a>, DecodeError> {
        self.bytes().map(Fields::of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(bytes: &[u8]) -> Result<Option<Field<'_>>, DecodeError> {
        Fields::of(bytes).read()
    }

    #[test]
    fn every_wire_type_is_read() {
        let bytes = [
            0x08, 0x96, 0x01, 0x12, 2, b'h', b'i', 0x19, 1, 0, 0, 0, 0, 0, 0, 0, 0x25, 9, 9, 9, 9,
        ];
        let mut fields = Fields::of(&bytes);
        assert_eq!(fields.read().unwrap().unwrap().varint(), Ok(150));
        assert_eq!(fields.read().unwrap().unwrap().text(), Ok("hi"));
        assert_eq!(fields.read().unwrap().unwrap().fixed64(), Ok(1));
        assert_eq!(fields.read().unwrap().unwrap().number, 4);
        assert_eq!(fields.read(), Ok(None));
    }

    #[test]
    fn a_length_beyond_the_end_is_refused() {
        let huge = [0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(first(&huge), Err(DecodeError::Malformed("a length beyond the end")));
    }

    #[test]
    fn a_number_over_64_bits_is_refused() {
        let over = [0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        assert_eq!(first(&over), Err(DecodeError::Malformed("a number over 64 bits")));
        let most = [0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(first(&most).unwrap().unwrap().varint(), Ok(u64::MAX));
    }

    #[test]
    fn groups_and_field_number_zero_are_refused() {
        assert!(first(&[0x0b]).is_err());
        assert!(first(&[0x00, 0x00]).is_err());
    }

    #[test]
    fn a_field_of_another_type_is_refused() {
        let field = first(&[0x08, 0x01]).unwrap().unwrap();
        assert_eq!(field.bytes(), Err(DecodeError::WrongType(1)));
        assert_eq!(field.fixed64(), Err(DecodeError::WrongType(1)));
    }
}
