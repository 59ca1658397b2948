// Rules of the C sources: who may say OpenMP, who may use intrinsics, what the lists promise.

import Testing

@Suite struct KernelRuleTests {
  @Test func onlyTheTeamSaysOpenMP() throws {
    let files = try SourceTree.cSources.filter { file in
      !file.path.hasPrefix("CKernels/team/") && file.code.contains(/\bomp\b|\bomp_|\bkmp_|GOMP_/)
    }
    #expect(files.isEmpty, "OpenMP outside CKernels/team: \(files)")
  }

  @Test func noFileMixesOpenMPWithIntrinsics() throws {
    // A parallel region's body loses the target attribute of the function around it.
    let files = try SourceTree.cSources.filter { file in
      file.code.contains("#pragma omp")
        && file.code.contains(/_mm\d*_|immintrin|CK_NAME|clang attribute push/)
    }
    #expect(files.isEmpty, "OpenMP and vector code in one file: \(files)")
  }

  @Test func everyRowOfAKernelListHasItsFunction() throws {
    let sources = try SourceTree.cSources.filter { !$0.path.hasSuffix(".inc") }
      .map(\.code).joined(separator: "\n")
    let lists = try SourceTree.cSources.filter { $0.path.hasSuffix("_kernels.inc") }
    #expect(!lists.isEmpty)
    var rows = 0
    for list in lists {
      for symbol in list.code.matches(of: /\bck_\w+/).map({ String($0.0) }) {
        rows += 1
        // Bodies compiled per level are written CK_NAME(ck_family)(...).
        let template = symbol.replacing(/_(ref|avx2|avx512bf16|avx512|amx)$/, with: "")
        let isDefined =
          sources.contains("\(symbol)(") || sources.contains("CK_NAME(\(template))")
        #expect(isDefined, "\(list) lists \(symbol), which no source defines")
      }
    }
    #expect(rows > 0)
  }

  /// arm64 compiles none of their sources, and would not link.
  @Test func rowsOfOneProcessorsLevelsStandWhereThatProcessorIsMeant() throws {
    for list in try SourceTree.cSources where list.path.hasSuffix("_kernels.inc") {
      var isWithin = false
      for line in list.text.split(separator: "\n") {
        if line.hasPrefix("#if defined(__x86_64__)") { isWithin = true }
        if line.hasPrefix("#endif") { isWithin = false }
        let isOfX86 = line.contains("CK_ISA_A") && !line.hasPrefix("//")
        #expect(!isOfX86 || isWithin, "\(list): \(line)")
      }
    }
  }

  @Test func everyKernelListEndsWithItsReference() throws {
    for list in try SourceTree.cSources where list.path.hasSuffix("_kernels.inc") {
      let levels = list.code.matches(of: /\b(?:CK_ISA_)?(REF|AVX2|AVX512|AVX512BF16|AMX),/).map {
        String($0.1)
      }
      #expect(levels.last == "REF", "\(list) must list the reference last")
    }
  }

  @Test func everyHeaderOfAFamilyIsInCKernelsH() throws {
    let umbrella = try SourceTree.file("CKernels/include/CKernels.h").text
    let headers = try SourceTree.cSources.filter {
      $0.path.hasPrefix("CKernels/include/ck_") && $0.path.hasSuffix(".h")
    }
    for header in headers {
      #expect(umbrella.contains("#include \"\(header.name)\""), "CKernels.h lacks \(header.name)")
    }
  }
}

extension SourceFile {
  /// The text of a C file without its comments.
  fileprivate var code: String {
    text.replacing(/\/\*[\s\S]*?\*\//, with: "").replacing(/\/\/[^\n]*/, with: "")
  }
}
