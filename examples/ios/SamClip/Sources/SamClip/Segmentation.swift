import Foundation

/// A mask that a point or a box asked for.
public struct PromptMask: Sendable {
    public let mask: Mask
    /// The IoU that the model expects of it.
    public let score: Float
    /// Which of the prompts it answers, from 0.
    public let prompt: Int
}

/// A label's mask.
public struct LabelMask: Sendable {
    public let label: String
    /// The probability that the label is in the picture, 0 to 1.
    public let presence: Float
    /// Whether the model takes it for present, and no likelier label for its mask. If not, the mask
    /// is empty.
    public let isPresent: Bool
    /// The IoU that the model expects of the mask; 0 if the label is absent.
    public let score: Float
    public let mask: Mask
}

/// What the model says of a label: logits [S,S] in its own frame.
struct LabelAnswer: Sendable {
    let presence: Float
    let score: Float
    let logits: ArraySlice<Float>
}

extension SamClip {
    /// The masks of points and boxes, in pixels of the picture.
    ///
    /// Points are one prompt, with a box or without; boxes without points are a prompt each.
    ///
    /// - Parameter multimask: three masks for a prompt, which may be ambiguous, instead of one.
    /// - Throws: `SamClipError.prompt` if they make no sense for this picture.
    public func segment(
        _ image: EncodedImage, points: [Point] = [], boxes: [Box] = [], multimask: Bool = true
    ) async throws -> [PromptMask] {
        let (lowRes, scores) = try await lowResMasks(image, points: points, boxes: boxes)
        let tokens = multimask ? 1...3 : 0...0
        return (0..<lowRes.shape[0]).flatMap { prompt in
            tokens.map { token in
                let logits = upscaled(lowRes, prompt: prompt, token: token, frame: image.frame)
                return PromptMask(
                    mask: mask(logits[...], image.frame),
                    score: scores.floats[prompt * scores.shape[1] + token], prompt: prompt)
            }
        }
    }

    /// The logits of all four masks of each prompt, [K,4,4g,4g], and their expected IoUs [K,4].
    package func lowResMasks(
        _ image: EncodedImage, points: [Point], boxes: [Box]
    ) async throws -> (Tensor, Tensor) {
        try check(image)
        let prompts = try Prompts(points: points, boxes: boxes, frame: image.frame)
        return try await decode(image, prompts)
    }

    /// The mask of one label.
    public func segment(_ image: EncodedImage, text: String) async throws -> LabelMask {
        try await segment(image, labels: [text])[0]
    }

    /// A mask for each label, in their order; an absent label's is empty.
    ///
    /// The answer for a label does not depend on the others, unless they compete.
    ///
    /// - Parameter exclusive: no pixel has two labels; the likelier one keeps it.
    /// - Throws: `SamClipError.text` if there is no label, an empty one, one with a comma, or one
    ///   twice.
    public func segment(
        _ image: EncodedImage, labels: [String], exclusive: Bool = false
    ) async throws -> [LabelMask] {
        try check(image)
        let embeddings = try await texts.embeddings(ofLabels: labels)
        let thresholds = await texts.thresholds(ofLabels: labels)
        let answers = try await answers(image, embeddings: embeddings, thresholds: thresholds)
        let present = answers.indices.filter { answers[$0].presence >= thresholds[$0] }
        let alone = present.map { mask(answers[$0].logits, image.frame) }
        let masks =
            exclusive ? settled(alone, likelihoods: present.map { answers[$0].presence }) : alone
        let found = Dictionary(uniqueKeysWithValues: zip(present, masks))
        return answers.indices.map { place in
            let mask = found[place] ?? nil
            return LabelMask(
                label: labels[place], presence: answers[place].presence, isPresent: mask != nil,
                score: mask == nil ? 0 : answers[place].score, mask: mask ?? .empty(image.frame))
        }
    }

    /// Asks the bundle's own graph, if it has one, or takes its steps one by one.
    func answers(
        _ image: EncodedImage, embeddings: [[Float]], thresholds: [Float]
    ) async throws -> [LabelAnswer] {
        let graph = "text_to_mask@\(image.frame.resolution)"
        return sessions.has(graph)
            ? try await answers(image, embeddings, of: graph)
            : try await answersInSteps(image, embeddings, thresholds)
    }

    private func answers(
        _ image: EncodedImage, _ embeddings: [[Float]], of graph: String
    ) async throws -> [LabelAnswer] {
        let area = image.frame.resolution * image.frame.resolution
        var answers: [LabelAnswer] = []
        // It decodes absent labels too, a megabyte of logits each.
        for start in stride(from: 0, to: embeddings.count, by: 8) {
            let part = embeddings[start..<min(start + 8, embeddings.count)]
            let labels = Tensor(part.flatMap { $0 }, shape: [part.count, part[start].count])
            let found = try await sessions.run(
                graph,
                [
                    "image_tokens": image.tokens, "image_embeddings": image.embeddings,
                    "extent": image.frame.extent, "text_embeddings": labels,
                ])
            let logits = try found.floats("mask_logits")
            let (presence, scores) = (try found.floats("presence"), try found.floats("scores"))
            answers += part.indices.map { index in
                let place = index - start
                return LabelAnswer(
                    presence: presence[place], score: scores[place],
                    logits: logits[(place * area)..<((place + 1) * area)])
            }
        }
        return answers
    }

    /// The same for bundles without the graph: the box around a label's parts, their best three
    /// cells and its scores ask once.
    private func answersInSteps(
        _ image: EncodedImage, _ embeddings: [[Float]], _ thresholds: [Float]
    ) async throws -> [LabelAnswer] {
        let calibration = bundle.manifest.calibration
        let side = 4 * image.embeddings.shape[2]
        let patches = try await clipHead(image).tensor("patch_embeddings")
        var answers: [LabelAnswer] = []
        for (label, threshold) in zip(embeddings, thresholds) {
            let map = ScoreMap(
                patches: patches, label: label, frame: image.frame, calibration: calibration)
            if map.presence < threshold {
                answers.append(LabelAnswer(presence: map.presence, score: 0, logits: []))
                continue
            }
            let parts = map.parts(calibration)
            let prompts = Prompts(
                points: map.points(of: parts), corners: map.corners(of: parts),
                map: map.maskPrompt(side: side, scale: calibration.promptScale ?? 1))
            let (lowRes, scores) = try await decode(image, prompts)
            let added = map.maskPrompt(side: side)
            let (weight, bias) = (calibration.mapWeight ?? 0, calibration.maskBias ?? 0)
            let sum = zip(lowRes.floats.prefix(side * side), added).map { $0 + weight * $1 + bias }
            let logits = scaled(sum, side: side, to: image.frame.resolution)
            answers.append(
                LabelAnswer(presence: map.presence, score: scores.floats[0], logits: logits[...]))
        }
        return answers
    }

    private func decode(
        _ image: EncodedImage, _ prompts: Prompts
    ) async throws -> (Tensor, Tensor) {
        let side = 4 * image.embeddings.shape[2]
        var masks: [Tensor] = []
        var scores: [Tensor] = []
        for batch in prompts.batches(of: bundle.manifest.masks.maxPrompts, maskSide: side) {
            var feed = try await sessions.run("prompt_encoder", batch)
            feed["image_embeddings"] = image.embeddings
            let decoded = try await sessions.run("mask_decoder", feed)
            masks.append(try decoded.tensor("low_res_masks"))
            scores.append(try decoded.tensor("iou_predictions"))
        }
        return (.joined(masks), .joined(scores))
    }

    private func upscaled(_ lowRes: Tensor, prompt: Int, token: Int, frame: Frame) -> [Float] {
        let side = lowRes.shape[3]
        let first = (prompt * lowRes.shape[1] + token) * side * side
        let logits = Array(lowRes.floats[first..<(first + side * side)])
        return scaled(logits, side: side, to: frame.resolution)
    }

    private func mask(_ logits: ArraySlice<Float>, _ frame: Frame) -> Mask {
        Mask(logits: logits, frame: frame, threshold: bundle.manifest.masks.maskThreshold)
    }
}
