import Foundation

/// A model's folder: its manifest, and files that are checked before they are used.
public struct ModelBundle: Sendable {
    public let folder: URL
    public let manifest: Manifest
    /// 16 digits that tell this bundle from all others.
    public let id: String

    static let schemaVersion = 1

    /// Reads the manifest.
    ///
    /// - Throws: `SamClipError.bundle` if there is none that can be read; `.schema` if it is of
    ///   another version.
    public init(folder: URL) throws {
        let path = folder.appendingPathComponent("manifest.json")
        guard let content = try? Data(contentsOf: path) else {
            throw SamClipError.bundle(
                "\(folder.path) has no manifest.json; give the folder of an unpacked bundle")
        }
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        struct Version: Decodable { let schemaVersion: Int }
        if let found = try? decoder.decode(Version.self, from: content).schemaVersion,
            found != Self.schemaVersion
        {
            throw SamClipError.schema(
                "\(path.path) has schema_version \(found), this package reads "
                    + "\(Self.schemaVersion); update the package or take an older bundle")
        }
        do {
            manifest = try decoder.decode(Manifest.self, from: content)
        } catch {
            throw SamClipError.bundle("\(path.path) is not a manifest: \(error)")
        }
        self.folder = folder
        id = String(sha256Digits(content).prefix(16))
    }

    /// The content of one of the manifest's `files`.
    ///
    /// - Throws: `SamClipError.bundle` if it is not there; `.tampered` if its sha256 is another.
    public func content(of path: String) throws -> Data {
        guard let file = manifest.files.first(where: { $0.path == path }) else {
            throw SamClipError.bundle("the manifest of \(folder.path) lists no file \(path)")
        }
        return try checked(file).content
    }

    /// Whether one of the manifest's `files` is there.
    func has(_ path: String) -> Bool {
        manifest.files.contains { $0.path == path }
            && FileManager.default.fileExists(atPath: folder.appendingPathComponent(path).path)
    }

    /// One of the bundle's label packs.
    public func labelPack(_ path: String) throws -> LabelPack {
        try LabelPack(content(of: path), named: path, for: manifest)
    }

    /// The artifacts of a graph for a runtime; several where their shapes are fixed.
    ///
    /// A letterbox has no weights: one file serves every precision.
    func artifacts(of graph: String, runtime: String, precision: String) -> [Artifact] {
        let isLetterbox = graph.hasPrefix("letterbox@")
        return (manifest.graphs[graph]?.artifacts ?? []).filter {
            $0.runtime == runtime && ($0.precision == precision || isLetterbox)
        }
    }

    /// Where a file is, and what it holds, once its sha256 is the manifest's.
    func checked(_ file: StoredFile) throws -> (url: URL, content: Data) {
        guard !file.path.hasPrefix("/"), !file.path.split(separator: "/").contains("..") else {
            throw SamClipError.bundle("the manifest's path \(file.path) leads out of the bundle")
        }
        let url = folder.appendingPathComponent(file.path)
        guard let content = try? Data(contentsOf: url, options: .mappedIfSafe) else {
            throw SamClipError.bundle("\(url.path) is missing; copy the whole bundle again")
        }
        guard sha256Digits(content) == file.sha256 else {
            throw SamClipError.tampered(
                "\(url.path) is not the file that the manifest names: copy the bundle again")
        }
        return (url, content)
    }
}
