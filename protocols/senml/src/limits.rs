//! What a decoder may be made to spend on one input. Every limit has a default that suits a gateway.

/// Limits on one pack, or on one record of a stream. Reaching one is an error of class
/// [`Class::TooLarge`](crate::Class::TooLarge).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a pack; of a stream, bytes held that no record was made of yet. Default 1 MiB.
    pub bytes: usize,
    /// Records of a pack. Streams have no such limit. Default 16,384.
    pub records: usize,
    /// Arrays and objects within each other, the pack and the record included: SenML itself
    /// needs 2, more only occurs in members that are ignored. Default 16.
    pub depth: usize,
    /// Bytes of a label, name, base name, unit or content type. These are the strings that
    /// resolving repeats in every record. Default 1,024.
    pub name_bytes: usize,
    /// Bytes of a string or data value. Default 64 KiB.
    pub value_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { bytes: 1 << 20, records: 16_384, depth: 16, name_bytes: 1_024, value_bytes: 1 << 16 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_as_documented() {
        let limits = Limits::default();
        assert_eq!((limits.bytes, limits.records, limits.depth), (1_048_576, 16_384, 16));
        assert_eq!((limits.name_bytes, limits.value_bytes), (1_024, 65_536));
    }
}
