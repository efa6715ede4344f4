/// Numbers with a shape, row by row.
public struct Tensor: Sendable, Equatable {
    public enum Values: Sendable, Equatable {
        case float32([Float])
        case uint8([UInt8])
        case int32([Int32])
    }

    public let shape: [Int]
    public let values: Values

    public init(_ floats: [Float], shape: [Int]) {
        self.init(.float32(floats), count: floats.count, shape: shape)
    }

    public init(_ bytes: [UInt8], shape: [Int]) {
        self.init(.uint8(bytes), count: bytes.count, shape: shape)
    }

    public init(_ integers: [Int32], shape: [Int]) {
        self.init(.int32(integers), count: integers.count, shape: shape)
    }

    private init(_ values: Values, count: Int, shape: [Int]) {
        precondition(shape.reduce(1, *) == count, "\(count) values do not fill \(shape)")
        self.values = values
        self.shape = shape
    }

    /// The values, if they are float32; none otherwise.
    public var floats: [Float] {
        if case .float32(let values) = values { return values }
        return []
    }

    /// The values, if they are uint8; none otherwise.
    public var bytes: [UInt8] {
        if case .uint8(let values) = values { return values }
        return []
    }

    /// The values, if they are int32; none otherwise.
    public var integers: [Int32] {
        if case .int32(let values) = values { return values }
        return []
    }

    /// Rows of the first axis.
    package func rows(_ range: Range<Int>) -> Tensor {
        let row = shape.dropFirst().reduce(1, *)
        let part = (range.lowerBound * row)..<(range.upperBound * row)
        let cut = [range.count] + shape.dropFirst()
        switch values {
        case .float32(let values): return Tensor(Array(values[part]), shape: cut)
        case .uint8(let values): return Tensor(Array(values[part]), shape: cut)
        case .int32(let values): return Tensor(Array(values[part]), shape: cut)
        }
    }

    /// Cut, and filled up with zeros, to another shape of the same rank.
    package func fitted(to lengths: [Int]) -> Tensor {
        if lengths == shape { return self }
        switch values {
        case .float32(let values):
            return Tensor(fit(values, from: shape, to: lengths), shape: lengths)
        case .uint8(let values):
            return Tensor(fit(values, from: shape, to: lengths), shape: lengths)
        case .int32(let values):
            return Tensor(fit(values, from: shape, to: lengths), shape: lengths)
        }
    }

    /// Float tensors behind one another, along the first axis.
    package static func joined(_ parts: [Tensor]) -> Tensor {
        if parts.count == 1 { return parts[0] }
        let rows = parts.reduce(0) { $0 + $1.shape[0] }
        return Tensor(parts.flatMap(\.floats), shape: [rows] + parts[0].shape.dropFirst())
    }
}

/// Copies the block that two shapes share, run by run of the last axis.
private func fit<T: Numeric>(_ values: [T], from old: [Int], to new: [Int]) -> [T] {
    var result = [T](repeating: 0, count: new.reduce(1, *))
    guard let last = old.last, let newLast = new.last else { return values }
    let shared = zip(old, new).map(min)
    let runs = shared.dropLast().reduce(1, *)
    for run in 0..<runs {
        var rest = run, source = 0, target = 0, sourceStride = last, targetStride = newLast
        for axis in (0..<(old.count - 1)).reversed() {
            let index = rest % shared[axis]
            rest /= shared[axis]
            source += index * sourceStride
            target += index * targetStride
            sourceStride *= old[axis]
            targetStride *= new[axis]
        }
        let length = shared[old.count - 1]
        result.replaceSubrange(target..<(target + length), with: values[source..<(source + length)])
    }
    return result
}
