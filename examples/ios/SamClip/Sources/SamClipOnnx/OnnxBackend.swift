import COnnxRuntime
import SamClip

/// Runs a bundle's ONNX graphs on the CPU, by onnxruntime's C interface.
public struct OnnxBackend: Backend {
    public let runtime = "onnx"
    public let precision: String
    private let threads: Int

    /// - Parameters:
    ///   - precision: "fp32", "fp16" or "int8".
    ///   - threads: of each graph.
    public init(precision: String = "fp32", threads: Int = 1) {
        self.precision = precision
        self.threads = threads
    }

    public func open(_ graph: Graph, files: [GraphFile]) async throws -> any Session {
        guard let file = files.first else {
            throw SamClipError.bundle("a graph without a file cannot be opened")
        }
        return try OnnxSession(
            path: file.url.path, outputs: graph.outputs.map(\.name), threads: threads)
    }
}
