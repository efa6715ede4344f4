import Foundation
import SamClip
import Testing

@Suite struct GoldenTests {
    let golden: Goldens

    init() throws { golden = try goldens.get() }

    @Test func textsAreCleanedAndCut() throws {
        let tokenizer = try Tokenizer(json: golden.bundle.content(of: "tokenizer.json"))
        #expect(!golden.index.texts.isEmpty)
        for text in golden.index.texts {
            #expect(cleaned(text.text) == text.cleaned)
            #expect(tokenizer.encode(text.text) == text.inputIds, "\(text.text)")
        }
    }

    /// Another model's tokenizer: CLIP's.
    @Test func clipTextsAreCleanedAndCut() throws {
        struct Texts: Decodable { let texts: [Goldens.Text] }
        let bundle = try ModelBundle(folder: clipFolder)
        let tokenizer = try Tokenizer(json: bundle.content(of: "tokenizer.json"))
        let decoder = JSONDecoder()
        decoder.keyDecodingStrategy = .convertFromSnakeCase
        let index = try bundle.content(of: "golden/index.json")
        let texts = try decoder.decode(Texts.self, from: index).texts
        #expect(!texts.isEmpty)
        for text in texts {
            #expect(cleaned(text.text) == text.cleaned)
            #expect(tokenizer.encode(text.text) == text.inputIds, "\(text.text)")
        }
    }

    @Test func letterboxIsPillows() async throws {
        let colour = golden.bundle.manifest.image.padColour
        #expect(!golden.index.letterbox.isEmpty)
        for each in golden.index.letterbox {
            let rgbImage = try each.image.map(golden.rgbImage) ?? golden.formula(each.size)
            let frame = Frame(
                height: each.size[0], width: each.size[1], resolution: each.resolution)
            #expect([frame.rows, frame.columns] == each.extent)
            let image = Letterbox.image(rgbImage, frame: frame, padColour: colour).bytes
            let wanted = try golden.tensor(each.output.tensor).bytes
            let taken = stride(from: 0, to: image.count, by: each.output.step).map { image[$0] }
            #expect(levels(taken, wanted) <= 1, "\(each.size) at \(each.resolution)")
        }
    }

    @Test(arguments: precisions) func graphsGiveWhatTorchGives(precision: String) async throws {
        let sessions = Sessions(bundle: golden.bundle, backend: backend(precision: precision))
        #expect(!golden.index.graphs.isEmpty)
        for run in golden.index.graphs {
            let feed = try run.inputs.mapValues { try golden.tensor($0) }
            let found = try await sessions.run(run.graph, feed)
            for (name, expected) in run.outputs {
                let output = try #require(found[name]).floats
                if precision == "fp32" {
                    let error = try golden.error(output, expected)
                    #expect(error <= expected.maxError!, "\(run.graph) \(name)")
                } else {
                    let cosine = try golden.cosine(output, expected)
                    #expect(cosine >= 0.99, "\(run.graph) \(name) in \(precision)")
                }
            }
        }
    }

    @Test func promptsGiveTheirMasks() async throws {
        let model = try await SamClip.load(from: bundleFolder, backend: backend())
        #expect(!golden.index.segment.isEmpty)
        for each in golden.index.segment {
            let image = try await model.encode(golden.rgbImage(each.image))
            let points = zip(each.points, each.labels).map {
                Point(x: $0[0], y: $0[1], isForeground: $1 == 1)
            }
            let boxes = each.box.map {
                [Box(left: $0[0], top: $0[1], right: $0[2], bottom: $0[3])]
            }
            let (masks, scores) = try await model.lowResMasks(
                image, points: points, boxes: boxes ?? [])
            #expect(try close(masks.floats, each.lowResMasks))
            #expect(try close(scores.floats, each.iouPredictions))
            let found = try await model.segment(image, points: points, boxes: boxes ?? [])
            #expect(found.map(\.score) == Array(scores.floats[1...3]))
            #expect(found.allSatisfy { $0.mask.height == image.frame.height })
        }
    }

    @Test func labelsGiveTheirEmbeddings() async throws {
        let model = try await SamClip.load(from: bundleFolder, backend: backend())
        #expect(!golden.index.classEmbeddings.isEmpty)
        for each in golden.index.classEmbeddings {
            var rows: [Float] = []
            for label in each.labels { rows += try await model.embed(label: label) }
            #expect(try close(rows, each.expected))
        }
    }

    @Test func imagesGiveTheirEmbeddings() async throws {
        let model = try await SamClip.load(from: bundleFolder, backend: backend())
        let cases = golden.index.imageEmbeddings ?? []
        #expect(!cases.isEmpty)
        for each in cases {
            let embedding = try await model.embed(golden.rgbImage(each.image))
            #expect(try close(embedding, each.expected))
        }
    }

    @Test func scoreMapsGivePrompts() throws {
        let calibration = golden.bundle.manifest.calibration
        #expect(!golden.index.scoreMaps.isEmpty)
        for each in golden.index.scoreMaps {
            let tensor = try golden.tensor(each.scoreMap)
            let frame = Frame(
                height: each.size[0], width: each.size[1], resolution: each.resolution)
            let map = ScoreMap(scores: tensor.floats, side: tensor.shape[0], frame: frame)
            #expect(abs(map.presence - each.presence) < 1e-5)
            let cells = map.cells(above: calibration.maskThresholdScore)
            #expect(map.points(of: cells) == each.points)
            let side = 4 * each.resolution / golden.bundle.manifest.image.patchSize
            let prompt = map.maskPrompt(side: side, scale: calibration.promptScale ?? 1)
            let error = try golden.error(prompt, each.maskInput)
            #expect(error <= each.maskInput.maxError!)
        }
    }

    @Test func logitsGiveMasksOfTheImage() throws {
        #expect(!golden.index.masks.isEmpty)
        for each in golden.index.masks {
            let lowRes = try golden.tensor(each.lowRes)
            let frame = Frame(
                height: each.size[0], width: each.size[1], resolution: each.resolution)
            let logits = scaled(lowRes.floats, side: lowRes.shape[0], to: each.resolution)
            let mask = Mask(
                logits: logits[...], frame: frame,
                threshold: golden.bundle.manifest.masks.maskThreshold)
            let wanted = try golden.bits(each.mask)
            #expect(mask.pixels.count == each.size[0] * each.size[1])
            #expect(iou(mask.pixels, wanted) >= 0.999)
        }
    }

    private func close(_ found: [Float], _ expected: Goldens.Expected) throws -> Bool {
        if isExact {
            return try golden.error(found, expected) <= expected.maxError!
        }
        return try golden.cosine(found, expected) >= 0.99
    }
}

/// The largest difference of levels; 256 if the numbers of values differ.
func levels(_ left: [UInt8], _ right: [UInt8]) -> Int {
    guard left.count == right.count else { return 256 }
    return zip(left, right).map { abs(Int($0) - Int($1)) }.max() ?? 256
}
