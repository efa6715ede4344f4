import Foundation
import SamClip
import Testing

@Suite struct ModelTests {
    let golden: Goldens

    private var maskSide: Int {
        let manifest = golden.bundle.manifest
        return 4 * manifest.tasks.segmentation.resolution / manifest.image.patchSize
    }

    init() throws { golden = try goldens.get() }

    /// The bundle's own graph for the letterbox, where the backend has one, and the port of Pillow.
    @Test(arguments: [[40, 30], [600, 900], [1100, 500], [3, 900]])
    func bothLetterboxesAgree(size: [Int]) async throws {
        let manifest = golden.bundle.manifest
        let sessions = Sessions(bundle: golden.bundle, backend: backend())
        let rgbImage = try golden.formula(size)
        for side in [manifest.tasks.segmentation, manifest.tasks.classification].map(\.resolution)
        where sessions.has("letterbox@\(side)") {
            let feed = ["picture": Tensor(rgbImage.rgb, shape: size + [3])]
            let found = try await sessions.run("letterbox@\(side)", feed)
            let frame = Frame(height: size[0], width: size[1], resolution: side)
            let own = Letterbox.image(rgbImage, frame: frame, padColour: manifest.image.padColour)
            #expect(found["extent"] == frame.extent)
            #expect(levels(try #require(found["image"]).bytes, own.bytes) <= 1)
        }
    }

    /// Programs of fixed shapes, filled up and cut, answer as one that takes any number.
    @Test(arguments: [1, 3, 4, 11]) func bucketsDoNotChangeAnswers(count: Int) async throws {
        let graph = try #require(golden.bundle.manifest.graphs["prompt_encoder"])
        let program = Program(Sessions(bundle: golden.bundle, backend: backend()), "prompt_encoder")
        let session = try BucketedSession(
            graph: graph,
            buckets: [8, 1, 4].map {
                .init(axes: ["num_prompts": $0, "num_points": 16], program: program)
            })
        let side = maskSide
        let places = (0..<(count * 4)).map { Float($0 * 37 % 500) }
        let feed = [
            "point_coords": Tensor(places, shape: [count, 2, 2]),
            "point_labels": Tensor([Int32](repeating: 1, count: count * 2), shape: [count, 2]),
            "mask_input": Tensor(
                [Float](repeating: 0, count: count * side * side), shape: [count, 1, side, side]),
            "has_mask_input": Tensor([Float](repeating: 0, count: count), shape: [count]),
        ]
        #expect(try await session.run(feed) == program.run(feed))
        let calls = await program.calls.shapes.dropLast()
        #expect(calls == (count == 11 ? [8, 4] : count == 3 ? [4] : [count]))
    }

    /// Tokens that were filled up take no part in the mask decoder.
    @Test func bucketsDoNotChangeMasks() async throws {
        let sessions = Sessions(bundle: golden.bundle, backend: backend())
        let graph = try #require(golden.bundle.manifest.graphs["mask_decoder"])
        let program = Program(sessions, "mask_decoder")
        let session = try BucketedSession(
            graph: graph,
            buckets: [.init(axes: ["num_prompts": 4, "num_points": 16], program: program)])
        let prompts = try #require(golden.index.graphs.first { $0.graph == "prompt_encoder" })
        var feed = try await Program(sessions, "prompt_encoder").run(
            prompts.inputs.mapValues { try golden.tensor($0) })
        let embeddings = try #require(graph.inputs.first { $0.name == "image_embeddings" })
        let shape = embeddings.shape.compactMap { if case .fixed(let length) = $0 { length } else { nil } }
        let image = (0..<shape.reduce(1, *)).map { Float($0 * 37 % 100) / 50 - 1 }
        feed["image_embeddings"] = Tensor(image, shape: shape)
        let (whole, filled) = (try await program.run(feed), try await session.run(feed))
        for spec in graph.outputs {
            let (wanted, found) = (try #require(whole[spec.name]), try #require(filled[spec.name]))
            #expect(found.shape == wanted.shape)
            let difference = zip(found.floats, wanted.floats).map { abs($0 - $1) }.max() ?? .infinity
            #expect(difference <= 1e-3 * (wanted.floats.map(abs).max() ?? 0))
        }
    }

    @Test func tooManyPointsForAPackageAreRefused() async throws {
        let graph = try #require(golden.bundle.manifest.graphs["prompt_encoder"])
        let program = Program(Sessions(bundle: golden.bundle, backend: backend()), "prompt_encoder")
        let session = try BucketedSession(
            graph: graph,
            buckets: [.init(axes: ["num_prompts": 1, "num_points": 2], program: program)])
        let side = maskSide
        let feed = [
            "point_coords": Tensor([Float](repeating: 1, count: 6), shape: [1, 3, 2]),
            "point_labels": Tensor([Int32](repeating: 1, count: 3), shape: [1, 3]),
            "mask_input": Tensor(
                [Float](repeating: 0, count: side * side), shape: [1, 1, side, side]),
            "has_mask_input": Tensor([Float(0)], shape: [1]),
        ]
        await #expect(throws: SamClipError.prompt("no package takes 3 num_points; give fewer")) {
            try await session.run(feed)
        }
        #expect(throws: SamClipError.self) {
            try BucketedSession(graph: graph, buckets: [.init(axes: [:], program: program)])
        }
    }

    @Test func boxesAreAPromptEach() async throws {
        let model = try await SamClip.load(from: bundleFolder, backend: backend())
        let image = try await model.encode(golden.formula([200, 300]))
        let boxes = (0..<18).map { place in
            Box(left: Double(place), top: 5, right: Double(place + 90), bottom: 150)
        }
        let together = try await model.segment(image, boxes: boxes, multimask: false)
        #expect(together.map(\.prompt) == Array(0..<18))
        let alone = try await model.segment(image, boxes: [boxes[17]], multimask: false)
        #expect(iou(alone[0].mask.pixels, together[17].mask.pixels) > 0.999)
        #expect(abs(alone[0].score - together[17].score) < 1e-4)
    }

    @Test func classesShareAProbability() async throws {
        let model = try await SamClip.load(from: bundleFolder, backend: backend())
        try await model.prewarm()
        let ranked = try await model.classify(golden.formula([90, 60]), labels: ["dog", "ring"])
        #expect(abs(ranked.map(\.probability).reduce(0, +) - 1) < 1e-5)
        #expect(ranked[0].probability >= ranked[1].probability)
        let embedding = try await model.embed(text: "a photo of rings")
        #expect(abs(dot(embedding[...], embedding[...]) - 1) < 1e-3)
    }

    @Test func aPackSparesTheTextEncoder() async throws {
        let copy = try EditedBundle { manifest in
            var graphs = manifest["graphs"] as? [String: Any] ?? [:]
            graphs["text_encoder"] = nil
            manifest["graphs"] = graphs
        }
        let model = try await SamClip.load(from: copy.folder, backend: backend())
        let image = try await model.encode(golden.formula([200, 300]))
        await #expect(throws: SamClipError.self) { try await model.segment(image, text: "dog") }
        let nouns = try model.bundle.labelPack("nouns.safetensors")
        #expect(nouns.embeddings.allSatisfy { abs(dot($0[...], $0[...]) - 1) < 1e-4 })
        await model.learn(nouns)
        let found = try await model.segment(image, labels: [nouns.labels[0], nouns.labels[1]])
        #expect(found.map(\.label) == Array(nouns.labels.prefix(2)))
        #expect(found.allSatisfy { $0.isPresent || $0.mask.area == 0 })
    }

    /// Of a graph's packages an app may ship one alone.
    @Test func aPackageThatWasLeftOutIsNotMissed() async throws {
        let copy = try EditedBundle { manifest in
            var graphs = manifest["graphs"] as? [String: [String: Any]] ?? [:]
            let artifacts = graphs["text_encoder"]?["artifacts"] as? [[String: Any]] ?? []
            let absent = artifacts.map { $0.merging(["path": "left out"]) { $1 } }
            graphs["text_encoder"]?["artifacts"] = absent + artifacts
            manifest["graphs"] = graphs
        }
        let model = try await SamClip.load(from: copy.folder, backend: backend())
        let whole = try await SamClip.load(from: bundleFolder, backend: backend())
        let embedding = try await model.embed(text: "a dog")
        #expect(try await whole.embed(text: "a dog") == embedding)
    }

    @Test func aMaskKnowsItsBox() {
        let pixels = [false, false, false, false, true, true, false, true, false]
        let mask = Mask(pixels: pixels, height: 3, width: 3)
        #expect(mask.area == 3)
        #expect(mask.box == Box(left: 1, top: 1, right: 3, bottom: 3))
        #expect(Mask(pixels: [false, false], height: 1, width: 2).box == nil)
    }

    @Test func digestsAreThoseOfTheStandard() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        #expect(sha256Digits(Data()) == empty)
        let million = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
        #expect(sha256Digits(Data(repeating: 97, count: 1_000_000)) == million)
        let two = "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
        #expect(sha256Digits(Data("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq".utf8)) == two)
    }
}

/// A graph of the bundle that notes how many prompts it was called with.
private struct Program: Session {
    actor Calls {
        private(set) var shapes: [Int] = []
        func note(_ count: Int) { shapes.append(count) }
    }

    let calls = Calls()
    private let sessions: Sessions
    private let graph: String

    init(_ sessions: Sessions, _ graph: String) {
        self.sessions = sessions
        self.graph = graph
    }

    func run(_ inputs: [String: Tensor]) async throws -> [String: Tensor] {
        await calls.note(inputs["has_mask_input"]?.shape[0] ?? 0)
        return try await sessions.run(graph, inputs)
    }
}
