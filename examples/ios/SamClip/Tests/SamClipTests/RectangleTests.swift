import Foundation
import SamClip
import Testing

@Suite struct RectangleTests {
    @Test(arguments: [
        ([600, 400], [512, 352]), ([400, 900], [256, 512]), ([50, 50], [512, 512]),
        ([2, 1], [512, 256]), ([1, 2000], [32, 512]),
    ])
    func wholeStepsHoldTheImage(size: [Int], pixels: [Int]) {
        let frame = Frame(height: size[0], width: size[1], resolution: 512)
        #expect(frame.coveredPixels == pixels)
    }

    @Test func theUpperLeftOfEachMapIsKept() {
        let maps = Tensor((0..<18).map { UInt8($0) }, shape: [1, 2, 3, 3])
        #expect(maps.upperLeft([2, 1]) == Tensor([UInt8]([0, 3, 9, 12]), shape: [1, 2, 2, 1]))
        #expect(maps.upperLeft([3, 3]) == maps)
    }

    @Test func whatIsRestoredLiesWhereItWas() {
        let patches = floats([1, 2, 3, 4], [1, 2, 2])
        let whole = floats([1, 2, 3, 4, 0, 0, 0, 0], [1, 4, 2])
        #expect(patches.wholePatches(cells: [1, 2], grid: 2) == whole)
        let wide = floats([1, 2], [1, 1, 2])
        #expect(wide.wholeMasks(side: 3) == floats([1, 2, 2, 1, 2, 2, 1, 2, 2], [1, 3, 3]))
        let tall = floats([1, 2, 3, 4], [2, 2, 1])
        #expect(tall.wholeMasks(side: 2) == floats([1, 1, 2, 2, 3, 3, 4, 4], [2, 2, 2]))
    }

    /// A model that needs the padding has it, and so has any on a runtime of fixed shapes.
    @Test(arguments: [("pyramid", false), ("tiny_vit", false), ("pyramid", true)])
    func theEncoderSeesWhatItTakes(kind: String, hasFixedShapes: Bool) async throws {
        let other = Noting(runtime: hasFixedShapes ? "other" : backend().runtime)
        let copy = try EditedBundle { manifest in
            var model = manifest["model"] as? [String: Any] ?? [:]
            var encoder = model["image_encoder"] as? [String: Any] ?? [:]
            encoder["kind"] = kind
            model["image_encoder"] = encoder
            manifest["model"] = model
            var graphs = manifest["graphs"] as? [String: [String: Any]] ?? [:]
            for (name, graph) in graphs {
                let artifacts = graph["artifacts"] as? [[String: Any]] ?? []
                let own = artifacts.filter { $0["runtime"] as? String == backend().runtime }
                graphs[name]?["artifacts"] = own.map {
                    $0.merging(["runtime": other.runtime]) { $1 }
                }
            }
            manifest["graphs"] = graphs
        }
        let model = try await SamClip.load(from: copy.folder, backend: other)
        let rgbImage = try RgbImage(
            rgb: [UInt8](repeating: 0, count: 90 * 40 * 3), height: 40, width: 90)
        let image = try await model.encode(rgbImage)
        let side = image.frame.resolution
        let isCut = other.runtime == "onnx" && kind == "pyramid"
        #expect(await other.seen.sides == (isCut ? image.frame.coveredPixels : [side, side]))
    }
}

private func floats(_ values: [Float], _ shape: [Int]) -> Tensor { Tensor(values, shape: shape) }

/// Another name for a backend, which notes the sides of what the image encoder is given.
private struct Noting: Backend {
    actor Seen {
        private(set) var sides: [Int] = []
        func note(_ image: Tensor?) { sides = image?.sides ?? sides }
    }

    struct Noted: Session {
        let session: any Session
        let seen: Seen

        func run(_ inputs: [String: Tensor]) async throws -> [String: Tensor] {
            await seen.note(inputs["image"])
            return try await session.run(inputs)
        }
    }

    let seen = Seen()
    let runtime: String
    var precision: String { backend().precision }

    init(runtime: String) { self.runtime = runtime }

    func open(_ graph: Graph, files: [GraphFile]) async throws -> any Session {
        Noted(session: try await backend().open(graph, files: files), seen: seen)
    }
}
