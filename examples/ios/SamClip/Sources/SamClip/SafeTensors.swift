import Foundation

/// A safetensors file: named tensors and a few words about them.
package struct SafeTensors: Sendable {
    package let metadata: [String: String]
    private let entries: [String: Entry]
    private let data: Data
    private let name: String

    private struct Entry: Sendable {
        let dtype: String
        let shape: [Int]
        let range: Range<Int>
    }

    /// - Throws: `SamClipError.bundle` if the file is damaged.
    package init(_ data: Data, named name: String) throws {
        let damaged = SamClipError.bundle("\(name) is no safetensors file: its header is damaged")
        guard data.count >= 8 else { throw damaged }
        let length = data.withUnsafeBytes { UInt64(littleEndian: $0.loadUnaligned(as: UInt64.self)) }
        guard length <= UInt64(data.count - 8) else { throw damaged }
        let start = 8 + Int(length)
        let header = Data(data[(data.startIndex + 8)..<(data.startIndex + start)])
        guard var fields = try? JSONSerialization.jsonObject(with: header) as? [String: Any]
        else { throw damaged }
        metadata = fields.removeValue(forKey: "__metadata__") as? [String: String] ?? [:]
        entries = try fields.mapValues { field in
            guard let field = field as? [String: Any], let dtype = field["dtype"] as? String,
                let width = Self.widths[dtype], let shape = field["shape"] as? [Int],
                let offsets = field["data_offsets"] as? [Int], offsets.count == 2,
                shape.allSatisfy({ (0...data.count).contains($0) }),
                offsets[0] >= 0, offsets[1] <= data.count - start, offsets[0] <= offsets[1],
                shape.reduce(1, { $0.multipliedReportingOverflow(by: $1).partialValue }) * width
                    == offsets[1] - offsets[0]
            else { throw damaged }
            let range = (start + offsets[0])..<(start + offsets[1])
            return Entry(dtype: dtype, shape: shape, range: range)
        }
        self.data = data
        self.name = name
    }

    private static let widths = ["F32": 4, "F16": 2, "I32": 4, "U8": 1, "I8": 1]

    /// A tensor; F16 and I8 become float32.
    package func tensor(_ key: String) throws -> Tensor {
        guard let entry = entries[key] else {
            throw SamClipError.bundle("\(name) has no tensor \(key)")
        }
        return data.withUnsafeBytes { file in
            let bytes = UnsafeRawBufferPointer(rebasing: file[entry.range])
            func read<T: BitwiseCopyable, R>(_ type: T.Type, _ convert: (T) -> R) -> [R] {
                let width = MemoryLayout<T>.size
                return (0..<(bytes.count / width)).map {
                    convert(bytes.loadUnaligned(fromByteOffset: $0 * width, as: type))
                }
            }
            switch entry.dtype {
            case "U8": return Tensor(Array(bytes), shape: entry.shape)
            case "I32":
                return Tensor(read(Int32.self) { Int32(littleEndian: $0) }, shape: entry.shape)
            case "I8": return Tensor(read(Int8.self) { Float($0) }, shape: entry.shape)
            case "F16":
                return Tensor(read(UInt16.self) { float(half: $0) }, shape: entry.shape)
            default:
                let values = read(UInt32.self) { Float(bitPattern: UInt32(littleEndian: $0)) }
                return Tensor(values, shape: entry.shape)
            }
        }
    }
}

/// Widens a number of 16 bits. `Float16` does not exist on Macs with Intel processors.
private func float(half bits: UInt16) -> Float {
    let value = UInt16(littleEndian: bits)
    let exponent = Int(value >> 10 & 31)
    let fraction = Float(value & 1023) / 1024
    let magnitude: Float
    switch exponent {
    case 0: magnitude = Float(sign: .plus, exponent: -14, significand: fraction)
    case 31: magnitude = fraction == 0 ? .infinity : .nan
    default: magnitude = Float(sign: .plus, exponent: exponent - 15, significand: 1 + fraction)
    }
    return value & 0x8000 == 0 ? magnitude : -magnitude
}
