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
    /// The probability that the label is in the image, 0 to 1.
    public let presence: Float
    /// Whether the model takes it for present, and no likelier label for its mask. If not, the mask
    /// is empty.
    public let isPresent: Bool
    /// The IoU that the model expects of the mask; 0 if the label is absent.
    public let score: Float
    public let mask: Mask
    /// Tells it if the label is read as another word, or is not known.
    public let readAs: Reading?
}

/// An object of a label.
public struct ObjectMask: Sendable {
    public let label: String
    /// The probability that the object is right, 0 to 1.
    public let score: Float
    /// How well the label fits what is inside the mask, 0 to 1.
    public let labelScore: Float
    /// The IoU that the model expects of the mask, 1 at most.
    public let predictedIoU: Float
    /// How little the mask depends on the threshold, 0 to 1.
    public let stabilityScore: Float
    public let mask: Mask
    /// Tells it if the label is read as another word, or is not known.
    public let readAs: Reading?

    init(_ found: FoundObject, of asked: AskedLabel, mask: Mask) {
        label = asked.label
        readAs = asked.readAs
        self.mask = mask
        score = found.score
        labelScore = found.labelScore
        predictedIoU = min(found.drawn.predictedIoU, 1)
        stabilityScore = found.stability
    }
}

/// What the model says of a label: logits [S,S] in its own frame, or none if it is not there.
struct LabelAnswer: Sendable {
    let presence: Float
    let score: Float
    let logits: ArraySlice<Float>

    /// Of a label that either word may be: the likelier one's presence and score, and the pixels of
    /// both that are there.
    func or(_ other: LabelAnswer) -> LabelAnswer {
        let best = other.presence > presence ? other : self
        var both = logits.isEmpty ? other.logits : logits
        if !logits.isEmpty, !other.logits.isEmpty { both = zip(logits, other.logits).map(max)[...] }
        return LabelAnswer(presence: best.presence, score: best.score, logits: both)
    }
}

extension SamClip {
    /// The masks of points and boxes, in pixels of the image.
    ///
    /// Points are one prompt, with a box or without; boxes without points are a prompt each.
    ///
    /// - Parameter multimask: three masks for a prompt, which may be ambiguous, instead of one.
    /// - Throws: `SamClipError.prompt` if they make no sense for this image.
    public func segment(
        _ image: EncodedImage, points: [Point] = [], boxes: [Box] = [], multimask: Bool = true
    ) async throws -> [PromptMask] {
        let (lowRes, scores) = try await lowResMasks(image, points: points, boxes: boxes)
        let tokens = multimask ? 1...3 : 0...0
        return (0..<lowRes.shape[0]).flatMap { prompt in
            tokens.map { token in
                let drawn = DrawnMask(
                    lowRes, scores, prompt: prompt, token: token, frame: image.frame,
                    threshold: bundle.manifest.masks.maskThreshold)
                return PromptMask(mask: drawn.mask, score: drawn.predictedIoU, prompt: prompt)
            }
        }
    }

    /// The logits of all four masks of each prompt, [K,4,4g,4g], which end at its box, and their
    /// expected IoUs [K,4].
    package func lowResMasks(
        _ image: EncodedImage, points: [Point], boxes: [Box]
    ) async throws -> (Tensor, Tensor) {
        try check(image)
        let prompts = try Prompts(points: points, boxes: boxes, frame: image.frame)
        let (lowRes, scores) = try await decode(image, prompts)
        guard let margin = bundle.manifest.calibration.boxMargin else { return (lowRes, scores) }
        return (prompts.keptInBoxes(lowRes, margin: margin), scores)
    }

    /// The mask of one label.
    public func segment(_ image: EncodedImage, text: String) async throws -> LabelMask {
        try await segment(image, labels: [text])[0]
    }

    /// A mask for each label, in their order; an absent label's is empty.
    ///
    /// The answer for a label does not depend on the others, unless they compete.
    ///
    /// - Parameters:
    ///   - exclusive: no pixel has two labels; the likelier one keeps it.
    ///   - threshold: 0 to 1, the presence below which a label is absent; by default the label's
    ///     own, or else the bundle's.
    ///   - allowUnknown: whether a label that the model does not know (see `readLabels`) may be
    ///     present at the default threshold, by what the text encoder makes of it. Without it, or
    ///     a `threshold`, such a label is absent.
    /// - Throws: `SamClipError.text` if there is no label, an empty one, one with a comma, or one
    ///   twice; `.prompt` if the threshold is out of its range.
    public func segment(
        _ image: EncodedImage, labels: [String], exclusive: Bool = false,
        threshold: Float? = nil, allowUnknown: Bool = false
    ) async throws -> [LabelMask] {
        try check(image)
        try Self.check(threshold, "threshold")
        let asked = try await texts.ask(labels, threshold: threshold, allowUnknown: allowUnknown)
        let answers = try await answers(image, asked)
        let present = answers.indices.filter { answers[$0].presence >= asked[$0].threshold }
        let alone = present.map { mask(answers[$0].logits, image.frame) }
        let masks =
            exclusive
            ? settled(
                alone, labels: present, likelihoods: present.map { answers[$0].presence })
            : alone
        let found = Dictionary(uniqueKeysWithValues: zip(present, masks))
        return answers.indices.map { place in
            let mask = found[place] ?? nil
            return LabelMask(
                label: labels[place], presence: answers[place].presence, isPresent: mask != nil,
                score: mask == nil ? 0 : answers[place].score, mask: mask ?? .empty(image.frame),
                readAs: asked[place].readAs)
        }
    }

    /// The objects of labels, the best first.
    ///
    /// Each part of a label's mask is an object: the mask decoder draws it once more, by the box
    /// around it. So objects that touch may be one. Only the cut at `maxInstances` and `exclusive`
    /// depend on which other labels are asked.
    ///
    /// - Parameters:
    ///   - threshold: 0 to 1, the presence below which a label is absent and has no objects; by
    ///     default the label's own, or else the bundle's.
    ///   - maskThreshold: the logit that a mask's pixels exceed; by default the bundle's.
    ///   - minScore: 0 to 1, the score below which an object is left out; by default the bundle's.
    ///   - maxInstances: the most objects; the best ones stay.
    ///   - exclusive: no pixel and no object has two labels; the likelier one keeps it.
    ///   - allowUnknown: as in `segment`.
    /// - Throws: `SamClipError.text` as `segment`; `.prompt` if a threshold, a score or
    ///   `maxInstances` is out of its range.
    public func segmentInstances(
        _ image: EncodedImage, labels: [String], threshold: Float? = nil,
        maskThreshold: Float? = nil, minScore: Float? = nil, maxInstances: Int = 50,
        exclusive: Bool = false, allowUnknown: Bool = false
    ) async throws -> [ObjectMask] {
        try check(image)
        try Self.check(threshold, "threshold")
        try Self.check(minScore, "minScore")
        guard maskThreshold?.isFinite ?? true else {
            throw SamClipError.prompt("maskThreshold is \(maskThreshold!); it must be finite")
        }
        guard maxInstances > 0 else {
            throw SamClipError.prompt("maxInstances is \(maxInstances); it must be 1 or more")
        }
        let manifest = bundle.manifest
        let asked = try await texts.ask(labels, threshold: threshold, allowUnknown: allowUnknown)
        let best = try await objects(
            image, asked, maskThreshold: maskThreshold ?? manifest.masks.maskThreshold,
            atMost: maxInstances)
        let least = minScore ?? manifest.calibration.objects?.minScore ?? 0
        let sure = best.filter { $0.score >= least }
        let alone = sure.map(\.drawn.mask)
        let masks =
            exclusive
            ? settled(alone, labels: sure.map(\.label), likelihoods: sure.map(\.score)) : alone
        return zip(sure, masks).compactMap { object, mask in
            mask.map { ObjectMask(object, of: asked[object.label], mask: $0) }
        }
    }

    private static func check(_ share: Float?, _ name: String) throws {
        guard let share, !(0...1).contains(share) else { return }
        throw SamClipError.prompt("\(name) is \(share); it must be from 0 to 1")
    }

    /// The best objects of all labels, the best first; among equals, the first label's first.
    private func objects(
        _ image: EncodedImage, _ asked: [AskedLabel], maskThreshold: Float, atMost count: Int
    ) async throws -> [FoundObject] {
        let calibration = bundle.manifest.calibration
        let patches = try await clipHead(image).tensor("patch_embeddings")
        var best: [FoundObject] = []
        for (place, label) in asked.enumerated() {
            let map = ScoreMap(
                patches: patches, texts: label.texts, frame: image.frame, calibration: calibration)
            if map.presence < label.threshold { continue }
            let masks = try await candidates(image, map, maskThreshold: maskThreshold)
            best += distinctObjects(
                masks, patches: patches, texts: label.texts, label: place,
                calibration: calibration)
            best = Array(best.sorted { $0.score > $1.score }.prefix(count))
        }
        return best
    }

    /// The masks that may be a present label's objects: one for each part of its mask, or the mask
    /// itself if that has one part or none.
    private func candidates(
        _ image: EncodedImage, _ map: ScoreMap, maskThreshold: Float
    ) async throws -> [DrawnMask] {
        let whole = try await drawn(image, map, threshold: maskThreshold).withoutSpecks()
        let candidates = whole.candidates()
        if candidates.count < 2 { return [whole] }
        let (lowRes, scores) = try await decode(image, Prompts(candidates))
        return candidates.enumerated().compactMap { place, candidate in
            candidate.best(
                of: (0..<lowRes.shape[1]).map { token in
                    DrawnMask(
                        lowRes, scores, prompt: place, token: token, frame: image.frame,
                        threshold: maskThreshold)
                })
        }
    }

    /// Asks the bundle's own graph, if it has one, or takes its steps one by one.
    ///
    /// Of several words that answer for a label, the graph draws each, and the label is what all of
    /// those that are there cover. Step by step, its score map is the highest of theirs, as in
    /// Python, and is drawn once.
    func answers(_ image: EncodedImage, _ asked: [AskedLabel]) async throws -> [LabelAnswer] {
        let graph = "text_to_mask@\(image.frame.resolution)"
        guard sessions.has(graph) else { return try await answersInSteps(image, asked) }
        let words = asked.flatMap { label in
            label.texts.map { (text: $0, least: label.threshold) }
        }
        var drawn = try await answers(image, words, of: graph)[...]
        return asked.map { label in
            let own = drawn.prefix(label.texts.count)
            drawn = drawn.dropFirst(label.texts.count)
            return own.dropFirst().reduce(own.first!) { $0.or($1) }
        }
    }

    private func answers(
        _ image: EncodedImage, _ words: [(text: [Float], least: Float)], of graph: String
    ) async throws -> [LabelAnswer] {
        let area = image.frame.resolution * image.frame.resolution
        var answers: [LabelAnswer] = []
        // It decodes absent labels too, a megabyte of logits each.
        for start in stride(from: 0, to: words.count, by: 8) {
            let part = words[start..<min(start + 8, words.count)]
            let labels = Tensor(
                part.flatMap(\.text), shape: [part.count, part[start].text.count])
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
                let own = logits[(place * area)..<((place + 1) * area)]
                return LabelAnswer(
                    presence: presence[place], score: scores[place],
                    logits: presence[place] < part[index].least ? [] : Array(own)[...])
            }
        }
        return answers
    }

    /// The same for bundles without the graph: the box around a label's parts, their best three
    /// cells and its scores ask once.
    private func answersInSteps(
        _ image: EncodedImage, _ asked: [AskedLabel]
    ) async throws -> [LabelAnswer] {
        let calibration = bundle.manifest.calibration
        let patches = try await clipHead(image).tensor("patch_embeddings")
        var answers: [LabelAnswer] = []
        for label in asked {
            let map = ScoreMap(
                patches: patches, texts: label.texts, frame: image.frame, calibration: calibration)
            if map.presence < label.threshold {
                answers.append(LabelAnswer(presence: map.presence, score: 0, logits: []))
                continue
            }
            let drawn = try await drawn(
                image, map, threshold: bundle.manifest.masks.maskThreshold)
            answers.append(
                LabelAnswer(
                    presence: map.presence, score: drawn.predictedIoU, logits: drawn.inModel))
        }
        return answers
    }

    /// The mask of a present label, by its score map.
    private func drawn(
        _ image: EncodedImage, _ map: ScoreMap, threshold: Float
    ) async throws -> DrawnMask {
        let calibration = bundle.manifest.calibration
        let side = maskSide(image.frame)
        let parts = map.parts(calibration)
        let prompts = Prompts(
            points: map.points(of: parts), corners: map.corners(of: parts),
            map: map.maskPrompt(side: side, scale: calibration.promptScale ?? 1))
        let (lowRes, scores) = try await decode(image, prompts)
        let bias = calibration.maskBias ?? 0
        let raised = lowRes.floats.prefix(side * side).map { $0 + bias }
        return DrawnMask(
            logits: raised, side: side, frame: image.frame, threshold: threshold,
            predictedIoU: scores.floats[0])
    }

    private func decode(
        _ image: EncodedImage, _ prompts: Prompts
    ) async throws -> (Tensor, Tensor) {
        let side = maskSide(image.frame)
        var masks: [Tensor] = []
        var scores: [Tensor] = []
        for batch in prompts.batches(of: bundle.manifest.masks.maxPrompts, maskSide: side) {
            var feed = try await sessions.run("prompt_encoder", batch)
            feed["image_embeddings"] = image.embeddings
            feed["dense_embeddings"] = try feed.tensor("dense_embeddings")
                .upperLeft(image.embeddings.sides)
            let decoded = try await sessions.run("mask_decoder", feed)
            masks.append(try decoded.tensor("low_res_masks").wholeMasks(side: side))
            scores.append(try decoded.tensor("iou_predictions"))
        }
        return (.joined(masks), .joined(scores))
    }

    /// The side of mask prompts and of the decoder's masks.
    private func maskSide(_ frame: Frame) -> Int {
        4 * frame.resolution / bundle.manifest.image.patchSize
    }

    private func mask(_ logits: ArraySlice<Float>, _ frame: Frame) -> Mask {
        Mask(logits: logits, frame: frame, threshold: bundle.manifest.masks.maskThreshold)
    }
}
