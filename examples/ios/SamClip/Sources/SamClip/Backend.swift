import Foundation

/// A runtime that opens the graphs of a bundle.
public protocol Backend: Sendable {
    /// What its artifacts are called in the manifest: "coreml", "onnx".
    var runtime: String { get }
    /// Which of them it takes: "fp32", "fp16", "int8", "palette6".
    var precision: String { get }

    /// Opens a graph, whose files have been checked.
    func open(_ graph: Graph, files: [GraphFile]) async throws -> any Session
}

/// A file that holds a graph, and the lengths that it fixes for the graph's free axes.
public struct GraphFile: Sendable {
    public let url: URL
    /// 16 digits that tell its content, weights and all, from any other.
    public let id: String
    public let axes: [String: Int]
}

/// An open graph.
public protocol Session: Sendable {
    /// Runs it. Inputs and outputs are bound by name.
    func run(_ inputs: [String: Tensor]) async throws -> [String: Tensor]
}

/// Opens each graph once, when it is first needed.
package actor Sessions {
    private let bundle: ModelBundle
    private let backend: any Backend
    private var opened: [String: Task<any Session, any Error>] = [:]
    private var checked: [String: URL] = [:]

    package init(bundle: ModelBundle, backend: any Backend) {
        self.bundle = bundle
        self.backend = backend
    }

    /// Whether the bundle has a graph for this backend.
    package nonisolated func has(_ graph: String) -> Bool { !artifacts(graph).isEmpty }

    package func run(_ graph: String, _ inputs: [String: Tensor]) async throws -> [String: Tensor] {
        try await session(graph).run(inputs)
    }

    private func session(_ graph: String) async throws -> any Session {
        if let task = opened[graph] { return try await task.value }
        let artifacts = artifacts(graph)
        guard let spec = bundle.manifest.graphs[graph], !artifacts.isEmpty else {
            throw SamClipError.missingGraph(
                "the bundle \(bundle.folder.lastPathComponent) has no \(graph) for "
                    + "\(backend.runtime) in \(backend.precision); export it again with that, or "
                    + "choose another backend or precision")
        }
        let backend = backend
        let task = Task {
            let files = try self.shipped(artifacts).map {
                GraphFile(url: try self.location(of: $0), id: $0.id, axes: $0.axes)
            }
            return try await backend.open(spec, files: files)
        }
        opened[graph] = task
        do {
            return try await task.value
        } catch {
            opened[graph] = nil
            throw error
        }
    }

    private nonisolated func artifacts(_ graph: String) -> [Artifact] {
        bundle.artifacts(of: graph, runtime: backend.runtime, precision: backend.precision)
    }

    /// The artifacts of a graph that are there, of which one is enough; all if none is.
    private func shipped(_ artifacts: [Artifact]) -> [Artifact] {
        let found = artifacts.filter { artifact in
            let url = bundle.folder.appendingPathComponent(artifact.path)
            return FileManager.default.fileExists(atPath: url.path)
        }
        return found.isEmpty ? artifacts : found
    }

    /// Where an artifact is, once it and its weights have been checked; each file is checked once.
    private func location(of artifact: Artifact) throws -> URL {
        let urls = try artifact.files.map { file in
            if let url = checked[file.path] { return url }
            let url = try bundle.checked(file).url
            checked[file.path] = url
            return url
        }
        return urls[0]
    }
}
