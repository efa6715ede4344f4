/// A graph as several programs of fixed shapes, which takes any number of prompts or texts.
///
/// The first axis of the outputs, where it is free, is cut into calls; free axes are filled up with
/// zeros to the lengths of a program. The answer depends on neither: a zero in `sparse_mask` keeps a
/// token out of the mask decoder.
public struct BucketedSession: Session {
    /// A program, and the lengths that it fixes.
    public struct Bucket: Sendable {
        let axes: [String: Int]
        let program: any Session

        public init(axes: [String: Int], program: any Session) {
            self.axes = axes
            self.program = program
        }
    }

    private let graph: Graph
    private let buckets: [Bucket]
    private let cutAxis: String?

    /// - Throws: `SamClipError.bundle` if a program does not fix the graph's free axes.
    public init(graph: Graph, buckets: [Bucket]) throws {
        let free = Set(graph.inputs.flatMap(\.shape).compactMap(\.name))
        for bucket in buckets where Set(bucket.axes.keys) != free {
            throw SamClipError.bundle(
                "a package fixes the axes \(bucket.axes.keys.sorted()), its graph has "
                    + "\(free.sorted())")
        }
        self.graph = graph
        let cut = graph.outputs.first?.shape.first?.name
        cutAxis = cut
        self.buckets = buckets.sorted { left, right in
            cut.map { left.axes[$0, default: 0] < right.axes[$0, default: 0] } ?? false
        }
    }

    public func run(_ inputs: [String: Tensor]) async throws -> [String: Tensor] {
        let lengths = try axes(of: inputs)
        let fitting = try fitting(lengths)
        guard let cutAxis, let count = lengths[cutAxis] else {
            return try await call(fitting[0], inputs, lengths)
        }
        var parts: [[String: Tensor]] = []
        var start = 0
        while start < count {
            let left = count - start
            let bucket = fitting.first { $0.axes[cutAxis, default: 0] >= left } ?? fitting.last!
            let rows = min(left, bucket.axes[cutAxis, default: 0])
            var part = inputs
            for spec in graph.inputs where spec.shape.first?.name == cutAxis {
                part[spec.name] = inputs[spec.name]?.rows(start..<(start + rows))
            }
            let called = lengths.merging([cutAxis: rows]) { $1 }
            parts.append(try await call(bucket, part, called))
            start += rows
        }
        return Dictionary(
            uniqueKeysWithValues: graph.outputs.map { spec in
                (spec.name, Tensor.joined(parts.compactMap { $0[spec.name] }))
            })
    }

    /// The lengths of the free axes in a feed.
    private func axes(of inputs: [String: Tensor]) throws -> [String: Int] {
        var lengths: [String: Int] = [:]
        for spec in graph.inputs {
            guard let tensor = inputs[spec.name], tensor.shape.count == spec.shape.count else {
                throw SamClipError.runtime("the graph's input \(spec.name) is missing or misshapen")
            }
            for (axis, length) in zip(spec.shape, tensor.shape) {
                if let name = axis.name { lengths[name] = length }
            }
        }
        return lengths
    }

    /// The programs that are long enough in every axis that is not cut.
    private func fitting(_ lengths: [String: Int]) throws -> [Bucket] {
        let fitting = buckets.filter { bucket in
            lengths.allSatisfy { $0.key == cutAxis || bucket.axes[$0.key, default: 0] >= $0.value }
        }
        if fitting.isEmpty {
            let asked = lengths.filter { $0.key != cutAxis }.map { "\($0.value) \($0.key)" }
            throw SamClipError.prompt(
                "no package takes \(asked.joined(separator: ", ")); give fewer")
        }
        return fitting
    }

    /// Fills a feed up to the lengths of a program, runs it, and cuts the outputs.
    private func call(
        _ bucket: Bucket, _ inputs: [String: Tensor], _ lengths: [String: Int]
    ) async throws -> [String: Tensor] {
        var filled: [String: Tensor] = [:]
        for spec in graph.inputs {
            let shape = spec.shape.map { $0.length(in: bucket.axes) }
            filled[spec.name] = inputs[spec.name]?.fitted(to: shape)
        }
        let found = try await bucket.program.run(filled)
        var results: [String: Tensor] = [:]
        for spec in graph.outputs {
            guard let tensor = found[spec.name], tensor.shape.count == spec.shape.count else {
                throw SamClipError.runtime("a package gave no \(spec.name) of \(spec.shape)")
            }
            results[spec.name] = tensor.fitted(to: spec.shape.map { $0.length(in: lengths) })
        }
        return results
    }
}

extension Axis {
    var name: String? {
        if case .free(let name) = self { return name }
        return nil
    }

    func length(in lengths: [String: Int]) -> Int {
        switch self {
        case .fixed(let length): return length
        case .free(let name): return lengths[name, default: 0]
        }
    }
}
