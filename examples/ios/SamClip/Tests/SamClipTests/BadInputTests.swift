import Foundation
import SamClip
import Testing

@Suite struct BadInputTests {
    private let bundle: ModelBundle
    private let encoder: String

    init() throws {
        bundle = try ModelBundle(folder: bundleFolder)
        encoder = "image_encoder@\(bundle.manifest.tasks.segmentation.resolution)"
    }

    /// The files of the image encoder that the backend reads.
    private func artifact() throws -> Artifact {
        let (runtime, precision) = (backend().runtime, backend().precision)
        return try #require(
            bundle.manifest.graphs[encoder]?.artifacts.first {
                $0.runtime == runtime && $0.precision == precision
            })
    }

    private func small() throws -> RgbImage {
        try RgbImage(rgb: [UInt8](repeating: 90, count: 20 * 30 * 3), height: 20, width: 30)
    }

    private func model(_ copy: EditedBundle) async throws -> SamClip {
        try await SamClip.load(from: copy.folder, backend: backend())
    }

    /// Runs something that must fail, and returns its message.
    private func message(of work: () async throws -> Void) async -> String {
        do {
            try await work()
        } catch {
            return "\(error)"
        }
        return "nothing was thrown"
    }

    @Test func aFolderWithoutAManifestIsNoBundle() throws {
        let folder = FileManager.default.temporaryDirectory
        #expect(throws: SamClipError.self) { try ModelBundle(folder: folder) }
    }

    @Test func anotherSchemaIsRefused() throws {
        let copy = try EditedBundle { $0["schema_version"] = 2 }
        let path = copy.url("manifest.json").path
        #expect(
            throws: SamClipError.schema(
                "\(path) has schema_version 2, this package reads 1; update the package or take an "
                    + "older bundle")
        ) { try ModelBundle(folder: copy.folder) }
    }

    @Test func aManifestThatIsNoneIsRefused() throws {
        let copy = try EditedBundle { $0["graphs"] = nil }
        #expect(throws: SamClipError.self) { try ModelBundle(folder: copy.folder) }
    }

    @Test func aMissingFileIsNamed() async throws {
        let copy = try EditedBundle()
        try copy.remove("tokenizer.json")
        let model = try await model(copy)
        let found = await message { _ = try await model.embed(text: "a dog") }
        #expect(found.hasSuffix("tokenizer.json is missing; copy the whole bundle again"))
    }

    @Test func aChangedFileIsNotOpened() async throws {
        let copy = try EditedBundle()
        let path = try artifact().path
        try copy.damage(path)
        let model = try await model(copy)
        let rgbImage = try small()
        let found = await message { _ = try await model.encode(rgbImage) }
        #expect(found.contains("\(path) is not the file that the manifest names"))
    }

    @Test func changedWeightsAreNotOpened() async throws {
        let copy = try EditedBundle()
        let weights = try #require(artifact().weights.first)
        try copy.damage(weights.path)
        let model = try await model(copy)
        let rgbImage = try small()
        let found = await message { _ = try await model.encode(rgbImage) }
        #expect(found.contains("\(weights.path) is not the file that the manifest names"))
    }

    @Test func aPathOutOfTheBundleIsNotFollowed() async throws {
        let copy = try EditedBundle { manifest in
            manifest["files"] = [["path": "../secret", "sha256": "00"]]
        }
        let bundle = try ModelBundle(folder: copy.folder)
        #expect(
            throws: SamClipError.bundle("the manifest's path ../secret leads out of the bundle")
        ) { try bundle.content(of: "../secret") }
    }

    @Test func aMissingGraphIsNamed() async throws {
        let copy = try EditedBundle { manifest in
            var graphs = manifest["graphs"] as? [String: Any] ?? [:]
            graphs[encoder] = nil
            manifest["graphs"] = graphs
        }
        let model = try await model(copy)
        let rgbImage = try small()
        let found = await message { _ = try await model.encode(rgbImage) }
        #expect(found.contains("has no \(encoder) for"))
    }

    @Test func aPrecisionThatIsNotThereIsNamed() async throws {
        let model = try await SamClip.load(
            from: bundleFolder, backend: backend(precision: "fp64"))
        let rgbImage = try small()
        let found = await message { _ = try await model.encode(rgbImage) }
        #expect(found.contains("in fp64; export it again with that"))
    }

    @Test(arguments: [(0, 4), (4, 0), (1, 1), (-1, -1)])
    func anImageWithoutPixelsIsRefused(height: Int, width: Int) {
        let rgb = [UInt8](repeating: 0, count: height * width * 3)
        #expect(throws: SamClipError.self) {
            try RgbImage(rgb: rgb, height: height, width: width)
        }
    }

    @Test func anImageWithTooFewValuesIsRefused() {
        #expect(
            throws: SamClipError.image("rgb has 5 values; 2 x 1 pixels have 6")
        ) { try RgbImage(rgb: [1, 2, 3, 4, 5], height: 1, width: 2) }
    }

    @Test(arguments: [
        [], ["  "], ["dog", "Dog "], ["dog,cat"],
    ]) func labelsThatNameNothingAreRefused(labels: [String]) async throws {
        let model = try await SamClip.load(from: bundleFolder, backend: backend())
        let image = try await model.encode(small())
        await #expect(throws: SamClipError.self) {
            try await model.segment(image, labels: labels)
        }
    }

    @Test func promptsThatMakeNoSenseAreRefused() async throws {
        let model = try await SamClip.load(from: bundleFolder, backend: backend())
        let image = try await model.encode(small())
        let box = Box(left: 1, top: 1, right: 5, bottom: 5)
        let cases: [([Point], [Box], String)] = [
            ([], [], "nothing to segment: give points or boxes"),
            ([Point(x: 1, y: 1)], [box, box], "points go with one box, not with 2"),
            ([Point(x: 30, y: 1)], [], "point (30.0, 1.0) is outside the image of 30 x 20"),
            ([Point(x: .nan, y: 1)], [], "point (nan, 1.0) is outside"),
            ([], [Box(left: 5, top: 1, right: 1, bottom: 5)], "is empty or reversed"),
            ([], [Box(left: 40, top: 1, right: 50, bottom: 5)], "is outside the image"),
        ]
        for (points, boxes, expected) in cases {
            let found = await message {
                _ = try await model.segment(image, points: points, boxes: boxes)
            }
            #expect(found.contains(expected))
        }
    }

    @Test func anImageOfAnotherBundleIsRefused() async throws {
        let other = try EditedBundle { $0["random_weights"] = true }
        let model = try await SamClip.load(from: bundleFolder, backend: backend())
        let image = try await model.encode(small())
        let stranger = try await self.model(other)
        let found = await message { _ = try await stranger.segment(image, text: "dog") }
        #expect(found.contains("the image was encoded by the bundle"))
    }

    @Test func aPackOfAnotherModelIsRefused() throws {
        let copy = try EditedBundle { $0["revision"] = "another" }
        let other = try ModelBundle(folder: copy.folder)
        let own = self.bundle.manifest
        #expect(
            throws: SamClipError.mismatch(
                "labels.safetensors was made by \(own.name) \(own.revision), this is \(own.name) "
                    + "another: save the pack again with this model")
        ) {
            let path = bundleFolder.appendingPathComponent("golden/labels.safetensors")
            _ = try LabelPack(contentsOf: path, for: other.manifest)
        }
    }

    @Test func aFileThatIsNoPackIsRefused() throws {
        for path in ["manifest.json", "golden/tensors.safetensors", "no such file"] {
            #expect(throws: SamClipError.self) {
                try LabelPack(
                    contentsOf: bundleFolder.appendingPathComponent(path), for: bundle.manifest)
            }
        }
    }

    @Test func aDamagedTokenizerIsRefused() {
        for text in ["", "{}", #"{"model": {"type": "Unigram", "vocab": {}}}"#] {
            #expect(throws: SamClipError.self) { try Tokenizer(json: Data(text.utf8)) }
        }
    }
}
