#if canImport(CoreML)
@preconcurrency import CoreML
import Foundation
import SamClip

/// Runs a bundle's Core ML packages.
///
/// The first time, Core ML compiles a package, which takes a while; the result is kept in the app's
/// caches. `SamClip.prewarm` does it ahead of the first image.
public struct CoreMLBackend: Backend {
    public let runtime = "coreml"
    public let precision: String
    private let computeUnits: MLComputeUnits

    /// - Parameters:
    ///   - precision: "fp16", "fp32", "int8" or "palette6": what the bundle was exported in.
    ///   - computeUnits: which of the CPU, the GPU and the Neural Engine may be used.
    public init(precision: String = "fp16", computeUnits: MLComputeUnits = .all) {
        self.precision = precision
        self.computeUnits = computeUnits
    }

    public func open(_ graph: Graph, files: [GraphFile]) async throws -> any Session {
        var buckets: [BucketedSession.Bucket] = []
        for file in files {
            let program = CoreMLProgram(
                model: try await load(file), outputs: graph.outputs.map(\.name))
            buckets.append(.init(axes: file.axes, program: program))
        }
        return try BucketedSession(graph: graph, buckets: buckets)
    }

    private func load(_ file: GraphFile) async throws -> MLModel {
        // The manifest names the file within the package.
        let package = file.url.deletingLastPathComponent()
        let configuration = MLModelConfiguration()
        configuration.computeUnits = computeUnits
        do {
            let compiled = try await compiled(package, id: file.id)
            do {
                return try await MLModel.load(contentsOf: compiled, configuration: configuration)
            } catch {
                // Of another system, perhaps: the next time it is compiled anew.
                try? FileManager.default.removeItem(at: compiled)
                throw error
            }
        } catch {
            throw SamClipError.runtime(
                "Core ML cannot open \(package.lastPathComponent): \(error.localizedDescription)")
        }
    }

    private func compiled(_ package: URL, id: String) async throws -> URL {
        let files = FileManager.default
        let caches = try files.url(
            for: .cachesDirectory, in: .userDomainMask, appropriateFor: nil, create: true)
        let folder = caches.appendingPathComponent("SamClip")
        let kept = folder.appendingPathComponent("\(id).mlmodelc")
        if files.fileExists(atPath: kept.path) { return kept }
        let fresh = try await MLModel.compileModel(at: package)
        try files.createDirectory(at: folder, withIntermediateDirectories: true)
        try files.moveItem(at: fresh, to: kept)
        return kept
    }
}
#endif
