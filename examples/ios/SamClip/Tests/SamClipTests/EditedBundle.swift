import Foundation

/// A folder of links to the bundle's files, with a manifest of its own; gone with the test.
final class EditedBundle {
    let folder: URL

    /// - Parameter edit: changes the manifest.
    init(_ edit: (inout [String: Any]) -> Void = { _ in }) throws {
        let files = FileManager.default
        folder = files.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        try files.createDirectory(at: folder, withIntermediateDirectories: true)
        for entry in try files.subpathsOfDirectory(atPath: bundleFolder.path) {
            let (source, target) = (bundleFolder.appendingPathComponent(entry), url(entry))
            var isFolder: ObjCBool = false
            _ = files.fileExists(atPath: source.path, isDirectory: &isFolder)
            if isFolder.boolValue {
                try files.createDirectory(at: target, withIntermediateDirectories: true)
            } else if entry != "manifest.json" {
                try files.createSymbolicLink(at: target, withDestinationURL: source)
            }
        }
        let content = try Data(contentsOf: bundleFolder.appendingPathComponent("manifest.json"))
        var manifest = try JSONSerialization.jsonObject(with: content) as? [String: Any] ?? [:]
        edit(&manifest)
        try JSONSerialization.data(withJSONObject: manifest).write(to: url("manifest.json"))
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    func url(_ path: String) -> URL { folder.appendingPathComponent(path) }

    func remove(_ path: String) throws { try FileManager.default.removeItem(at: url(path)) }

    /// Puts a copy with one more byte in the place of a file.
    func damage(_ path: String) throws {
        let content = try Data(contentsOf: url(path))
        try remove(path)
        try (content + [0]).write(to: url(path))
    }
}
