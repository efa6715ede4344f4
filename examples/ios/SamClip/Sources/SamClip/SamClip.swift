import Foundation

/// A model: one pass of its image encoder answers for points, boxes and texts.
///
/// Work runs outside the main thread; any number of tasks may ask.
public final class SamClip: Sendable {
    public let bundle: ModelBundle
    let sessions: Sessions
    let texts: TextEmbedder
    private let needsPadding: Bool

    /// Opens a bundle. Graphs are opened when they are first needed; see `prewarm`.
    ///
    /// - Parameters:
    ///   - folder: of the unpacked bundle.
    ///   - backend: the runtime.
    /// - Throws: `SamClipError.bundle` or `.schema`.
    public static func load(from folder: URL, backend: any Backend) async throws -> SamClip {
        SamClip(bundle: try ModelBundle(folder: folder), backend: backend)
    }

    private init(bundle: ModelBundle, backend: any Backend) {
        self.bundle = bundle
        sessions = Sessions(bundle: bundle, backend: backend)
        texts = TextEmbedder(bundle: bundle, sessions: sessions)
        needsPadding =
            backend.runtime != "onnx" || bundle.manifest.model.imageEncoder.kind != "pyramid"
    }

    /// Opens what masks of texts need and runs it once, so that the first answer comes quickly.
    public func prewarm() async throws {
        let side = 2
        let grey = [UInt8](repeating: 128, count: side * side * 3)
        let image = try await encode(RgbImage(rgb: grey, height: side, width: side))
        let width = bundle.manifest.model.embedDim
        let label = unit([Float](repeating: 1, count: width))
        let asked = AskedLabel(label: "", readAs: nil, texts: [label], threshold: 0)
        _ = try await answers(image, [asked])
    }

    /// Takes labels' embeddings and thresholds, and what is told of them, as given: no text encoder
    /// runs for them.
    public func learn(_ pack: LabelPack) async { await texts.learn(pack) }

    /// Runs the image encoder, once an image.
    ///
    /// - Returns: what every other method takes.
    public func encode(_ rgbImage: RgbImage) async throws -> EncodedImage {
        try await encode(rgbImage, for: bundle.manifest.tasks.segmentation)
    }

    /// A caption's or query's embedding, of unit length.
    public func embed(text: String) async throws -> [Float] {
        try await texts.embedding(ofText: text)
    }

    /// The embedding over the bundle's prompt templates, of unit length, of the word that a label
    /// is read as.
    ///
    /// - Throws: `SamClipError.text` too if it is a general word, for which several answer.
    public func embed(label: String) async throws -> [Float] {
        try await texts.embedding(ofLabel: label)
    }

    /// What the model takes labels for, each by its text; none if the bundle does not tell, and no
    /// pack gave the label.
    ///
    /// A label is a taught word, or was given by a pack; the same as one in another word, number or
    /// spelling; read as others: its kind, the kinds of a general word, or its head noun; or not
    /// known. Every answer has the last two in `readAs`.
    public func readLabels(_ labels: [String]) async throws -> [String: Reading] {
        let readings = try await texts.read(labels)
        return Dictionary(uniqueKeysWithValues: zip(labels, readings)).compactMapValues { $0 }
    }

    /// The nouns that images taught the model, in the order of the alphabet; none if its bundle
    /// does not tell them.
    public func words() async throws -> [String] { try await texts.words()?.words ?? [] }

    /// The taught words nearest to a label's own embedding, the nearest first.
    public func nearestWords(to label: String, count: Int = 3) async throws -> [NearWord] {
        guard count > 0 else {
            throw SamClipError.prompt("count is \(count); it must be 1 or more")
        }
        return try await texts.words(near: label, count: count)
    }

    /// An image's embedding, as `classify` sees it, of unit length: its product with a text's or
    /// another image's is their cosine.
    public func embed(_ rgbImage: RgbImage) async throws -> [Float] {
        let image = try await encode(rgbImage, for: bundle.manifest.tasks.classification)
        return try await clipHead(image).floats("image_embedding")
    }

    /// How well each label describes an image, the best first.
    public func classify(_ rgbImage: RgbImage, labels: [String]) async throws -> [Ranked] {
        let asked = try await texts.ask(labels)
        let whole = try await embed(rgbImage)
        let scale = bundle.manifest.text.logitScale
        let logits = asked.map { label in
            scale * (label.texts.map { dot(whole[...], $0[...]) }.max() ?? -1)
        }
        let powers = logits.map { exp($0 - (logits.max() ?? 0)) }
        let sum = powers.reduce(0, +)
        return zip(asked, powers)
            .map { Ranked(label: $0.label, probability: $1 / sum, readAs: $0.readAs) }
            .sorted { $0.probability > $1.probability }
    }

    func clipHead(_ image: EncodedImage) async throws -> [String: Tensor] {
        let mask = image.frame.tokenMask(patchSize: bundle.manifest.image.patchSize)
        let cells = image.tokens.sides
        let feed = ["image_tokens": image.tokens, "token_mask": mask.upperLeft(cells)]
        var found = try await sessions.run("clip_head@\(image.frame.resolution)", feed)
        found["patch_embeddings"] = try found.tensor("patch_embeddings")
            .wholePatches(cells: cells, grid: mask.shape[2])
        return found
    }

    /// - Throws: `SamClipError.mismatch` if another bundle encoded the image.
    func check(_ image: EncodedImage) throws {
        guard image.bundleID == bundle.id else {
            throw SamClipError.mismatch(
                "the image was encoded by the bundle \(image.bundleID), this is \(bundle.id): "
                    + "encode it again")
        }
    }

    private func encode(_ rgbImage: RgbImage, for task: Manifest.Task) async throws -> EncodedImage {
        guard task.crop == "letterbox" else {
            throw SamClipError.bundle(
                "the bundle wants the crop \(task.crop); this package makes letterbox alone")
        }
        let size = task.resolution
        let frame = Frame(height: rgbImage.height, width: rgbImage.width, resolution: size)
        let square = try await letterbox(rgbImage, frame: frame)
        let image = needsPadding ? square : square.upperLeft(frame.coveredPixels)
        let outputs = try await sessions.run("image_encoder@\(size)", ["image": image])
        return EncodedImage(
            frame: frame, tokens: try outputs.tensor("image_tokens"),
            embeddings: try outputs.tensor("image_embeddings"), bundleID: bundle.id)
    }

    /// By the bundle's graph, if it has one; both are alike within one level.
    private func letterbox(_ rgbImage: RgbImage, frame: Frame) async throws -> Tensor {
        let graph = "letterbox@\(frame.resolution)"
        guard sessions.has(graph) else {
            let colour = bundle.manifest.image.padColour
            return Letterbox.image(rgbImage, frame: frame, padColour: colour)
        }
        let pixels = Tensor(rgbImage.rgb, shape: [rgbImage.height, rgbImage.width, 3])
        return try await sessions.run(graph, ["picture": pixels]).tensor("image")
    }
}

/// An image after the image encoder; its maps lack the padding if the model needs none.
public struct EncodedImage: Sendable {
    public let frame: Frame
    let tokens: Tensor
    let embeddings: Tensor
    let bundleID: String
}

/// A label, and the share of it in a softmax over all labels that were asked.
public struct Ranked: Sendable, Equatable {
    public let label: String
    public let probability: Float
    /// Tells it if the label is read as another word, or is not known.
    public let readAs: Reading?
}

extension [String: Tensor] {
    func tensor(_ name: String) throws -> Tensor {
        guard let tensor = self[name] else {
            throw SamClipError.runtime("a graph gave no \(name), but \(keys.sorted())")
        }
        return tensor
    }

    func floats(_ name: String) throws -> [Float] { try tensor(name).floats }
}
